import pytest
import torch
from cdd_trial import SHAPE, STEPS, Trial, arch_of, recipe

from edgekd.distill.methods.cdd import CapacityDynamicDistillation
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.compression import clear_channels
from edgekd.distill.methods.cdd.indicator import indicated_norms
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.errors import ModelError
from edgekd.students.build import build_student
from edgekd.students.count import count_cost


def cost(module):
    return count_cost(module, [SHAPE])


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize(
    ("target", "share"), [({"target_macs": 0.5}, 0.5), ({"target_params": 0.4}, 0.4)]
)
def test_a_target_is_met_and_the_merged_network_answers_alike(target, share, shrink):
    trial = Trial(recipe({**target, "shrink_while_training": shrink}))
    full = cost(build_student(trial.arch))
    trial.epochs()
    x = torch.randn(3, *SHAPE)
    with torch.no_grad():
        expected = trial.module.eval()(x)
        finished = trial.method.finish(trial.module)
        torch.testing.assert_close(finished(x), expected, rtol=0, atol=1e-4)
    found = cost(finished)
    left = found.macs / full.macs if "target_macs" in target else found.num_params / full.num_params
    assert left == pytest.approx(share, rel=0.02)
    assert indicated_norms(finished) == []
    unit = "macs_share" if "target_macs" in target else "params_share"
    assert trial.row[unit] == pytest.approx(left)
    assert trial.method.notes() == ()


def test_both_targets_are_steered_to():
    """A channel of this network is up to 9 % of the MACs that are to stay."""
    trial = Trial(recipe({"target_macs": 0.5, "target_params": 0.6})).epochs()
    trial.method.finish(trial.module)
    assert trial.row["macs_share"] == pytest.approx(0.5, rel=0.05)
    assert trial.row["params_share"] == pytest.approx(0.6, rel=0.05)


def test_a_missed_target_is_noted():
    trial = Trial(recipe({"target_macs": 0.4})).epochs(last=2)  # masked, but nothing has died yet
    trial.method.finish(trial.module)
    (note,) = trial.method.notes()
    assert "of its MACs" in note
    assert "above the target of 0.400" in note


def test_a_run_without_a_target_that_removes_nothing_says_so():
    trial = Trial(recipe({})).epochs(last=1)
    trial.method.finish(trial.module)
    (note,) = trial.method.notes()
    assert "no channel was removed: 0 of 56 were masked" in note
    assert "--target-macs" in note


def test_the_bundle_is_rebuilt_from_its_record():
    trial = Trial(recipe({"target_macs": 0.5})).epochs()
    finished = trial.method.finish(trial.module).eval()
    arch = trial.method.finished_arch(trial.arch)
    rebuilt = build_student(arch)
    rebuilt.load_state_dict(finished.state_dict(), strict=True)
    x = torch.randn(2, *SHAPE)
    assert torch.equal(rebuilt.eval()(x), finished(x))
    assert arch.merged
    assert arch.widths == tuple(int(v) for k, v in trial.row.items() if k.startswith("kept/"))


def test_an_inverted_residual_shrinks_with_its_depthwise_channels():
    arch = arch_of("timm:mobilenetv3_small_050", drop_rate=0.0)
    plan = recipe({"target_params": 0.85, "shrink_while_training": True}, epochs=3)
    trial = Trial(plan, arch=arch).epochs()
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        expected = trial.module.eval()(x)
        found = trial.method.finish(trial.module)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max() + 1))
    left = cost(trial.module).num_params / cost(build_student(arch)).num_params
    assert left == pytest.approx(0.85, rel=0.02)


def test_magnitude_takes_the_shortest_rows():
    trial = Trial(recipe({"target_macs": 0.75, "mask": "magnitude", "mask_from": 0.0}))
    with torch.no_grad():
        for part in indicated_norms(trial.module):
            part.indicator.weight[: len(part.rows()) // 2] *= 0.5
    trial.epochs(last=4)
    masked = [~channels.mask for channels in trial.method._compression.channels]
    assert sum(int(part.sum()) for part in masked) > 5
    assert not any(bool(part[len(part) // 2 :].any()) for part in masked)


def test_without_a_target_the_rule_alone_masks():
    """Rows that are nothing already are the smallest contributors of every pair."""
    trial = Trial(recipe({"mask_from": 0.0}))
    with torch.no_grad():
        for part in indicated_norms(trial.module):
            part.indicator.weight[:3] *= 1e-3
    trial.step(0)
    for channels in trial.method._compression.channels:
        assert not channels.mask[:3].any()
        assert channels.mask.sum() >= channels.full - channels.full // 2


def test_masks_never_come_back():
    trial = Trial(recipe({"target_macs": 0.4}))
    before = [c.mask.clone() for c in trial.method._compression.channels]
    for number in range(trial.plan.epochs * STEPS):
        trial.step(number)
        now = [c.mask.clone() for c in trial.method._compression.channels]
        assert not any(bool((n & ~b).any()) for n, b in zip(now, before, strict=True))
        before = now


def test_nothing_is_masked_in_the_first_phase():
    trial = Trial(recipe({"target_macs": 0.4, "mask_from": 0.5}))
    trial.epochs(last=3)
    assert all(bool(c.mask.all()) for c in trial.method._compression.channels)
    assert len(trial.method._compression.queue.labels) == 0
    trial.epochs(first=3, last=4)
    assert not all(bool(c.mask.all()) for c in trial.method._compression.channels)


@pytest.mark.parametrize("shrink", [False, True])
def test_a_block_whose_channels_are_all_masked_keeps_the_longest(shrink):
    table = {"mask_from": 0.0, "compression": 1.0, "shrink_while_training": shrink}
    trial = Trial(recipe(table))
    for channels in trial.method._compression.channels:
        channels.mask[:] = False
    with torch.no_grad():
        for part in indicated_norms(trial.module):
            part.indicator.weight[2].mul_(2)
    trial.epochs()
    assert [c.numbers[~c.dead].tolist() for c in trial.method._compression.channels] == [[2]] * 3
    block, x = trial.module.eval().stages[0][0], torch.ones(1, 8, 8, 8)
    row = 0 if shrink else 2
    assert block.bn1.rows()[row, 2].item() == pytest.approx(2, rel=1e-4)  # nothing pulls at it
    third = 2 * block.bn1.norm(block.conv1(x))[0, 2]
    finished = trial.method.finish(trial.module)
    assert trial.method.finished_arch(trial.arch).widths == (1, 1, 1)
    torch.testing.assert_close(block.conv1(x)[0, 0], third, rtol=1e-4, atol=1e-5)
    assert torch.isfinite(finished(torch.randn(2, *SHAPE))).all()


def test_the_total_is_the_weighed_sum_of_its_terms():
    trial = Trial(recipe({"compression": 0.01}, kd={"kd_weight": 0.25, "temperature": 2.0}))
    found = trial.method.losses(trial.module, trial.batch(0))
    terms = {name: float(term) for name, term in found.terms.items()}
    expected = 0.75 * terms["label_loss"] + 0.25 * terms["kd_loss"] + 0.5 * terms["fit_loss"]
    assert float(found.total.detach()) == pytest.approx(expected + 0.01 * terms["compression_loss"])
    assert terms["compression_loss"] == pytest.approx(8 + 16 + 32)  # identities


def test_removed_channels_change_nothing_of_what_is_learned():
    """They gave zeros: without them the same sums are taken in another order."""
    kept, removed = (
        Trial(recipe({"target_macs": 0.4, "shrink_while_training": shrink}))
        for shrink in (False, True)
    )
    x = torch.randn(3, *SHAPE)
    for epoch in range(kept.plan.epochs):
        for trial in (kept, removed):
            trial.epochs(first=epoch, last=epoch + 1)
            trial.module.eval()
        with torch.no_grad():
            torch.testing.assert_close(removed.module(x), kept.module(x), rtol=0, atol=1e-4)
        for trial in (kept, removed):
            trial.module.train()
    assert all(channels.num_removed for channels in removed.method._compression.channels)
    for whole, narrow in zip(
        indicated_norms(kept.module), indicated_norms(removed.module), strict=True
    ):
        torch.testing.assert_close(narrow.norm.weight, whole.norm.weight, rtol=0, atol=1e-4)
        assert len(narrow.rows()) < len(whole.rows())


def test_the_indicators_have_no_weight_decay_and_their_own_momentum():
    trial = Trial(recipe({"indicator_momentum": 0.5, "indicator_lr_scale": 2.0}))
    group = trial.optimizer.param_groups[-1]
    assert group["weight_decay"] == 0
    assert (group["momentum"], group["lr_scale"]) == (0.5, 2.0)
    assert len(group["params"]) == 3
    assert trial.optimizer.param_groups[0]["momentum"] == 0.9


@pytest.mark.parametrize("shrink", [False, True])
def test_a_resumed_second_phase_goes_on_bit_by_bit(shrink):
    plan = recipe({"target_macs": 0.4, "shrink_while_training": shrink})
    whole = Trial(plan).epochs()
    half = Trial(plan).epochs(last=3)
    half.step(3 * STEPS)  # in the middle of an epoch
    state = {name: tensor.clone() for name, tensor in half.method.state().items()}
    resumed = Trial(plan, state=state, weights=half.module.state_dict())
    resumed.optimizer.load_state_dict(half.optimizer.state_dict())
    for step in range(1, STEPS):
        resumed.step(3 * STEPS + step)
    resumed.method.reshape(resumed.module, None, resumed.optimizer)
    resumed.method.progress(resumed.module, 1.0)
    resumed.epochs(first=4)
    assert resumed.module.state_dict().keys() == whole.module.state_dict().keys()
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(resumed.module.state_dict()[name], tensor), name
    for name, tensor in whole.method.state().items():
        assert torch.equal(resumed.method.state()[name], tensor), name


def test_a_run_resumed_after_an_epochs_last_step_brings_its_channels_along(monkeypatch):
    """From a checkpoint they come on the CPU, and no step has moved them before the reshaping."""
    plan = recipe({"target_macs": 0.4, "shrink_while_training": True})
    half = Trial(plan).epochs(last=3)
    for step in range(STEPS):
        half.step(3 * STEPS + step)
    state = {name: tensor.clone() for name, tensor in half.method.state().items()}
    resumed = Trial(plan, state=state, weights=half.module.state_dict())
    moved = []
    monkeypatch.setattr(Channels, "to", lambda self, device: moved.append((self, device)))
    resumed.method.reshape(resumed.module, None, resumed.optimizer)
    device = next(resumed.module.parameters()).device
    assert moved == [(channels, device) for channels in resumed.method._compression.channels]


def test_the_average_answers_alike_when_it_is_narrowed():
    trial = Trial(recipe({"target_macs": 0.4, "shrink_while_training": True}), ema=0.9)
    average, x = trial.average.module, torch.randn(4, *SHAPE)
    for epoch in range(trial.plan.epochs):
        for step in range(STEPS):
            trial.step(epoch * STEPS + step)
        for part, channels in zip(
            indicated_norms(average), trial.method._compression.channels, strict=True
        ):  # what the student lost, the average still has a part of
            clear_channels(part.indicator.weight, None, channels.dead)
        with torch.no_grad():
            expected = average.eval()(x)
            trial.method.reshape(trial.module, average, trial.optimizer)
            found = average(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    assert any(channels.num_removed for channels in trial.method._compression.channels)


def test_the_average_shrinks_with_the_student():
    trial = Trial(recipe({"target_macs": 0.5, "shrink_while_training": True}), ema=0.9).epochs()
    finished = trial.method.finish(trial.average.module.eval())
    assert cost(finished).macs / cost(build_student(trial.arch)).macs == pytest.approx(
        0.5, rel=0.02
    )
    assert torch.isfinite(finished(torch.randn(2, *SHAPE))).all()


def test_the_time_that_was_saved_is_told():
    trial = Trial(recipe({"target_macs": 0.4, "shrink_while_training": True}))
    saved = []
    for epoch in range(6):
        trial.epochs(first=epoch, last=epoch + 1)
        saved.append(trial.row["seconds_saved"])
    assert saved == [0.0] * 6  # every epoch took one second
    assert trial.method.progress(trial.module, 0.25)["seconds_saved"] == pytest.approx(0.75)


def test_mixed_images_count_for_their_larger_class():
    trial = Trial(recipe({"mask_from": 0.0}))
    given = trial.batch(0)
    shares = torch.nn.functional.one_hot(given.targets, 4) * 0.7 + 0.3 / 4
    mixed = Batch(inputs=given.inputs, targets=shares, indices=given.indices, teacher=given.teacher)
    trial.method.losses(trial.module, mixed).total.backward()
    trial.method.after_backward(trial.module)
    assert torch.equal(trial.method._compression.queue.labels, given.targets)


def test_a_network_without_inner_channels_is_refused():
    method = CapacityDynamicDistillation(recipe())
    method.enter(Run(input_shape=SHAPE, steps_per_epoch=STEPS))
    with pytest.raises(ModelError, match="nothing to compare"):
        method.teacher_layers(torch.nn.Linear(2, 2))
    method.teacher_layers(build_student(arch_of()))
    with pytest.raises(ModelError, match="nothing to shrink"):
        method.attach(torch.nn.Linear(2, 2))


def test_a_teacher_of_other_widths_is_refused():
    method = CapacityDynamicDistillation(recipe())
    method.enter(Run(input_shape=SHAPE, steps_per_epoch=STEPS))
    method.teacher_layers(build_student(arch_of(width=16)))
    with pytest.raises(ModelError, match="own architecture"):
        method.attach(build_student(arch_of()))


def test_an_unreachable_target_is_refused_before_training():
    with pytest.raises(ModelError, match="out of reach"):
        Trial(recipe({"target_macs": 0.01}))


def test_a_magnitude_without_a_target_is_refused():
    with pytest.raises(ValueError, match="give a target"):
        recipe({"mask": "magnitude"})
