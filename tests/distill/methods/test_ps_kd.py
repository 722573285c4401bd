import weakref

import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.distill.methods.ps_kd import ProgressiveSelfDistillation
from edgekd.errors import ModelError
from edgekd.records import SignalInput

SPEC = SignalInput(name="x", channels=1, length=4, mean=(0.0,), std=(1.0,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x.flatten(1))


def recipe(**changes):
    plan = {"data": "x", "student": "resnet8", "method": "ps-kd", "epochs": 2}
    return TrainRecipe(**plan, **changes).settled(9)


def test_the_second_epoch_learns_from_label_and_past_answer():
    torch.manual_seed(0)
    method = ProgressiveSelfDistillation(recipe(soft_labels={"weight": 0.8}))
    method.enter(Run(input_shape=(1, 4), steps_per_epoch=1, inputs=(SPEC,), num_samples=9))
    net = method.attach(Net())
    x, targets = torch.randn(2, 1, 4), torch.tensor([2, 0])
    batch = Batch(inputs=(x,), targets=targets, indices=torch.tensor([7, 3]), teacher=None)
    hard = nn.functional.cross_entropy(net(x), targets)
    torch.testing.assert_close(method.losses(net, batch).total, hard)
    past = net(x).softmax(dim=1).detach()
    method.after_step(net)
    method.after_epoch(0)
    nn.init.normal_(net.fc.weight)
    expected = 0.2 * nn.functional.one_hot(targets, 3) + 0.8 * past
    soft = nn.functional.cross_entropy(net(x), expected)
    torch.testing.assert_close(method.losses(net, batch).total, soft, atol=2e-3, rtol=0)


def test_a_trial_step_is_not_remembered():
    method = ProgressiveSelfDistillation(recipe())
    method.enter(Run(input_shape=(1, 4), steps_per_epoch=1, inputs=(SPEC,), num_samples=9))
    net = method.attach(Net())
    method.losses(net, Batch(inputs=(torch.randn(2, 1, 4),), targets=torch.tensor([0, 1]),
                             indices=torch.arange(2), teacher=None))  # fmt: skip
    assert not method.state()["known"].any()


@pytest.mark.parametrize("soft_labels", [{"weight": 0}, {"source": "previous"}])
def test_answers_that_nobody_remembers_are_not_worked_out(soft_labels, monkeypatch):
    method = ProgressiveSelfDistillation(recipe(soft_labels=soft_labels))
    method.enter(Run(input_shape=(1, 4), steps_per_epoch=1, inputs=(SPEC,), num_samples=9))
    net = method.attach(Net())
    monkeypatch.setattr(method, "_answers", lambda logits: pytest.fail("nobody asked"))
    batch = Batch(inputs=(torch.randn(2, 1, 4),), targets=torch.tensor([0, 1]),
                  indices=torch.arange(2), teacher=None)  # fmt: skip
    assert method.losses(net, batch).total.isfinite()


def test_a_resumed_run_does_not_keep_the_table_twice():
    method, run = (
        ProgressiveSelfDistillation(recipe()),
        Run(input_shape=(1, 4), steps_per_epoch=1, inputs=(SPEC,), num_samples=9),
    )
    method.enter(run)
    method.attach(Net())
    saved = {name: tensor.clone() for name, tensor in method.state().items()}
    table = weakref.ref(saved["rows"])
    again = ProgressiveSelfDistillation(recipe())
    again.enter(run)
    again.load_state(saved)
    del saved
    again.attach(Net())
    assert table() is None


def test_a_teacher_is_refused():
    with pytest.raises(ModelError, match="learns from its own past"):
        ProgressiveSelfDistillation(recipe(teacher="t"))
