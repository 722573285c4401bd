"""What is remembered of a sample under a transformation comes back for that sample and that one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from numbered_views import (
    BRANCHES,
    CLASSES,
    EPOCHS,
    SAMPLES,
    VIEWS,
    WEIGHT,
    batches,
    enrolled,
    labels,
    told,
    train,
)

from edgekd.config import TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from edgekd.distill.methods.lsskd.branches import LayeredNetwork
from edgekd.distill.methods.lsskd.method import LayeredSelfDistillation
from edgekd.distill.methods.protocol import Run
from edgekd.errors import ModelError
from edgekd.records import ImageInput
from edgekd.students.build import build_student, parse_student

TESTS = Path(__file__).parents[3]


def check_labels(seen, *, epoch, past):
    """Labels of an epoch hold what was answered in ``past`` (sample -> epoch), or are hard."""
    share = WEIGHT * (epoch + 1) / EPOCHS
    for indices, targets in seen:
        for row, sample in enumerate(indices.tolist()):
            main, joint = targets.main[row], targets.joint[row]
            label = labels(sample)
            assert joint.shape == (VIEWS, BRANCHES, CLASSES * VIEWS)
            if sample not in past:
                assert main[label] == 1
                hard = [joint[turn, :, label * VIEWS + turn].tolist() for turn in range(VIEWS)]
                assert hard == [[1.0] * BRANCHES] * VIEWS
                continue
            assert told(main, 2, share=share).tolist() == [sample, past[sample]]
            expected = [
                [[sample, past[sample], turn, branch] for branch in range(BRANCHES)]
                for turn in range(VIEWS)
            ]
            assert told(joint, 4, share=share).tolist() == expected


def check_rows(state, past):
    """The table of a checkpoint, row by row, against sample -> epoch."""
    assert state["known"].nonzero().flatten().tolist() == sorted(past)
    joint = state["rows"][:, CLASSES:].float().view(SAMPLES, VIEWS, BRANCHES, CLASSES * VIEWS)
    for sample, epoch in past.items():
        assert told(state["rows"][sample].float(), 2).tolist() == [sample, epoch]
        for turn in range(VIEWS):
            for branch in range(BRANCHES):
                found = told(joint[sample, turn, branch], 4).tolist()
                assert found == [sample, epoch, turn, branch]


def shown(epoch):
    """The samples of an epoch: all but the rest after the last full batch."""
    return {sample for view in batches().epoch(epoch) for sample in view.indices.tolist()}


def test_a_shuffled_epoch_learns_from_the_same_sample_and_turn_of_the_epoch_before():
    method = enrolled()
    check_labels(train(method, 0, batches().epoch(0)), epoch=0, past={})
    method.after_epoch(0)
    first = dict.fromkeys(shown(0), 0)
    assert len(first) == 18
    check_rows(method.state(), first)
    seen = train(method, 1, batches().epoch(1))
    assert [i.tolist() for i, _ in seen] != [v.indices.tolist() for v in batches().epoch(0)]
    check_labels(seen, epoch=1, past=first)
    check_rows(method.state(), first | dict.fromkeys(shown(1), 1))


def test_a_run_resumed_in_the_middle_of_an_epoch_remembers_both_sides(tmp_path):
    method = enrolled()
    train(method, 0, batches().epoch(0))
    method.after_epoch(0)
    before = list(batches().epoch(1))[:1]
    train(method, 1, before)
    path = tmp_path / "checkpoint.safetensors"
    nothing = {"state": {}, "param_groups": []}
    write_checkpoint(path, Checkpoint(parts={"method": method.state()}, optimizer=nothing))

    again = enrolled(read_checkpoint(path).parts["method"])
    past = dict.fromkeys(shown(0), 0)
    check_labels(train(again, 1, batches().epoch(1, first_step=1)), epoch=1, past=past)
    again.after_epoch(1)
    past |= dict.fromkeys(shown(1), 1)
    check_rows(again.state(), past)
    check_labels(train(again, 2, batches().epoch(2)), epoch=2, past=past)


WORKER = """
import json, sys
import torch
from numbered_views import batches, enrolled, train

rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
method, seen = enrolled(), []
for epoch in (0, 1):  # the second shuffle hands samples to the other process
    seen.append(train(method, epoch, batches(rank=rank, world_size=2).epoch(epoch)))
    method.after_epoch(epoch)
plain = [[(i.tolist(), t.main.tolist(), t.joint.tolist()) for i, t in steps] for steps in seen]
state = {name: tensor.tolist() for name, tensor in method.state().items()}
print(json.dumps([plain, state]))
torch.distributed.destroy_process_group()
"""


def test_two_processes_learn_from_what_either_of_them_saw(tmp_path):
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for rank in range(2)
    ]
    answers = [json.loads(worker.communicate(timeout=300)[0]) for worker in workers]
    past = dict.fromkeys(shown(0), 0)
    owners = []
    for (first, second), state in answers:
        check_labels(map(_tensors, first), epoch=0, past={})
        check_labels(map(_tensors, second), epoch=1, past=past)
        owners.append([{n for step in steps for n in step[0]} for steps in (first, second)])
        rows = {name: torch.tensor(values) for name, values in state.items()}
        check_rows(rows, past | dict.fromkeys(shown(1), 1))
    # each process met samples in the second epoch that only the other had seen in the first
    (mine, mine_later), (others, others_later) = owners
    assert not mine & others
    assert mine_later & others
    assert others_later & mine


def _tensors(step):
    indices, main, joint = step
    return torch.tensor(indices), _Labels(torch.tensor(main), torch.tensor(joint))


class _Labels:
    def __init__(self, main, joint):
        self.main, self.joint = main, joint


class Leaky(LayeredNetwork):
    """A network whose branches take part in what it answers."""

    def answer_all(self, *inputs):
        output = super().answer_all(*inputs)
        return output._replace(logits=output.logits + output.joint[-1].mean())


@pytest.fixture
def finished():
    """A method at its end, with the network that it attached."""
    spec = ImageInput(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    recipe = TrainRecipe(data="x", student="resnet8", method="lsskd").settled(4)
    method = LayeredSelfDistillation(recipe)
    method.enter(Run(input_shape=spec.shape, steps_per_epoch=1, inputs=(spec,), num_samples=4))
    torch.manual_seed(0)
    plan = {"num_classes": 4, "in_channels": 3, "input_size": (8, 8)}
    student = build_student(parse_student("resnet8", {"width": 4}, **plan))
    return method, method.attach(student), student


def test_what_is_finished_is_the_student_itself(finished):
    method, network, student = finished
    network.train()
    assert method.finish(network) is student
    assert all(part.training for part in network.modules())


def test_a_network_that_answers_by_a_branch_in_eval_mode_is_refused(finished):
    """Validation would have described another network than the one that is kept."""
    method, network, _ = finished
    network.forward = lambda *inputs: network.answer_all(*inputs).joint[0][:, :4]
    with pytest.raises(ModelError, match="the student answers otherwise without its branches"):
        method.finish(network)


def test_a_ramp_longer_than_the_run_is_told():
    class Heard(SilentConsole):
        text = ""

        def info(self, text):
            self.text += text

    heard = Heard()
    spec = ImageInput(channels=3, height=8, width=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    plan = {"data": "x", "student": "resnet8", "method": "lsskd", "epochs": 5}
    run = Run(
        input_shape=spec.shape, steps_per_epoch=1, inputs=(spec,), num_samples=4, console=heard
    )
    LayeredSelfDistillation(TrainRecipe(**plan).settled(4)).enter(run)
    assert "kl_ramp_epochs is 20 and the run has 5 epochs" in heard.text
    assert "--set lsskd.kl_ramp_epochs=2" in heard.text
    assert "reaches 25% of its weight" in heard.text


def test_a_student_that_answers_otherwise_among_its_branches_is_refused(finished):
    method, network, student = finished
    network.__class__ = Leaky
    x = torch.ones(2, 3, 8, 8)
    assert torch.equal(network.eval()(x), student(x))  # eval mode alone hides it
    with pytest.raises(ModelError, match="the student answers otherwise without its branches"):
        method.finish(network)
