import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgekd.bundle import read_bundle
from edgekd.config import TrainRecipe
from edgekd.distill.methods.kd import LogitDistillation
from edgekd.distill.methods.none import LabelsOnly
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.distill.methods.quantization_aware import QuantizationAware
from edgekd.distill.methods.table import make_method
from edgekd.distill.run import distill
from edgekd.records import ImageInput
from edgekd.students.build import load_student
from edgekd.students.quantized import FakeQuantized

IMAGE = ImageInput(channels=1, height=4, width=4, mean=(0.5,), std=(0.5,))


def recipe(**changes):
    return TrainRecipe(**({"data": "x", "student": "resnet8", "qat": True} | changes))


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def entered(**changes):
    torch.manual_seed(0)
    plan = recipe(**changes)
    method, student = QuantizationAware(plan, LabelsOnly(plan)), Small()
    method.enter(Run(input_shape=IMAGE.shape, steps_per_epoch=2, inputs=(IMAGE,)))
    return method, student, method.attach(student)


def batch():
    x = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return Batch(inputs=(x,), targets=torch.arange(8) % 3, indices=torch.arange(8), teacher=None)


def test_the_recipe_puts_rounding_around_its_method():
    assert isinstance(make_method(recipe()), QuantizationAware)
    assert type(make_method(recipe(qat=False))) is LabelsOnly
    distilled = make_method(recipe(method="kd", teacher="t"))
    assert distilled.teacher_needs == LogitDistillation.teacher_needs


def test_float_first_and_ranges_follow_what_is_seen():
    method, student, module = entered()
    module.train()
    x = batch().inputs[0]
    found = method.losses(module, batch()).total
    student.train()
    expected = LabelsOnly(recipe()).losses(student, batch()).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    seen = module.ranges()["0: conv2d"]
    assert seen == pytest.approx((x.min().item(), x.max().item()))
    module(2 * x)  # 5 % of the way to what the next batch holds
    assert module.ranges()["0: conv2d"] == pytest.approx([1.05 * limit for limit in seen])
    module.eval()(4 * x)  # what is only evaluated teaches nothing
    assert module.ranges()["0: conv2d"] == pytest.approx([1.05 * limit for limit in seen])


@pytest.mark.parametrize(
    ("epochs", "share", "first"), [(4, 0.5, 2), (10, 0.75, 8), (2, 0.9, 1), (5, 0.0, 1)]
)
def test_rounding_begins_after_its_share_of_the_epochs(epochs, share, first):
    method, _, module = entered(epochs=epochs, qat_from=share)
    found = []
    for epoch in range(epochs):
        found.append(bool(module.rounding))
        method.after_epoch(epoch)
    assert found == [epoch >= first for epoch in range(epochs)]


def test_a_resumed_run_knows_whether_it_rounds_and_its_ranges():
    method, _, module = entered()
    module.train()(batch().inputs[0])
    method.after_epoch(100)
    _, _, resumed = entered()
    resumed.load_state_dict(module.state_dict())
    assert bool(resumed.rounding)
    assert resumed.ranges() == module.ranges()


def test_a_norm_is_trained_and_rounded_weights_are_those_of_the_folded_network():
    method, student, module = entered()
    module.train()(batch().inputs[0])
    assert student.norm.running_mean.abs().max() > 0
    method.after_epoch(100)
    module.eval()
    folded = nn.utils.fusion.fuse_conv_bn_eval(student.conv.eval(), student.norm.eval())
    plain = Small().eval()
    plain.conv, plain.norm, plain.head = folded, nn.Identity(), student.head
    other = FakeQuantized(plain, batch().inputs)
    other.calibrate(module.ranges())
    x = batch().inputs[0]
    torch.testing.assert_close(module(x), other(x), atol=0.02, rtol=0.02)


def test_what_is_left_is_the_student_and_its_ranges():
    method, student, module = entered()
    module.train()(batch().inputs[0])
    assert method.finish(module) is student
    assert method.learned_ranges() == {}  # rounding has not begun
    method.after_epoch(100)
    assert method.learned_ranges() == module.ranges()
    low, high = module.ranges()[module.points[0]]
    seen = batch().inputs[0]
    assert (low, high) == pytest.approx((float(seen.min()), float(seen.max())))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "lsskd"}, "none and kd"),
        ({"task": "retrieval"}, "for classification"),
        ({"ema_decay": 0.99}, "take ema_decay out"),
        ({"precision": "bf16"}, "use precision fp32"),
        ({"epochs": 1}, "at least 2 epochs"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        recipe(**changes)


def test_its_precision_is_fp32_and_its_settings_need_it():
    assert recipe().precision == "fp32"
    assert recipe(qat=False).precision == "auto"
    assert "qat_from" in recipe(qat=False).unread()
    assert "qat_from" not in recipe().unread()


def test_a_run_leaves_a_plain_bundle_and_is_the_same_every_time(tmp_path):
    plan = recipe(
        data="builtin:digits", student_options={"width": 4}, epochs=2, lr=0.05, num_threads=1
    )
    one, two = (distill(plan, tmp_path / name) for name in "ab")
    assert one.weights_sha256 == two.weights_sha256
    assert read_bundle(tmp_path / "a").provenance.recipe["qat"] is True
    _, module = load_student(tmp_path / "a")
    assert not any(isinstance(part, FakeQuantized) for part in module.modules())
    assert one.metrics[0].value > 0.3
    assert read_bundle(tmp_path / "a").learned_ranges == one.learned_ranges
    assert all(low <= 0 < high for low, high in one.learned_ranges.values())
