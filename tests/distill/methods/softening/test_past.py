import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.methods.protocol import Run
from edgekd.distill.methods.softening.past import Past
from edgekd.distill.methods.softening.soft_labels import Answers
from edgekd.errors import ConfigError

INDICES = torch.tensor([4, 1])
# Two samples, of class 0 and 1; two transformations, one branch, two classes.
HARD = Answers(torch.eye(2), torch.eye(4).view(2, 2, 1, 4))
ANSWERED = Answers(torch.full((2, 2), 0.5), torch.full((2, 2, 1, 4), 0.25))


class Console(SilentConsole):
    def __init__(self):
        self.said = []

    def info(self, text):
        self.said.append(text)


def past(saved=(), *, module=None, samples=6, console=None, **soft_labels):
    recipe = TrainRecipe(
        data="x", student="resnet8", epochs=4, soft_labels={"weight": 0.8} | soft_labels
    ).settled(samples)
    run = Run(
        input_shape=(1,), steps_per_epoch=3, num_samples=samples, console=console or Console()
    )
    return Past(
        recipe,
        run,
        module or nn.Linear(1, 1),
        shape=(2, 1, 2),
        respond=lambda network, inputs: ANSWERED,
        saved=dict(saved),
    )


def softened(found, indices=INDICES):
    return found.soften(HARD, (torch.zeros(2, 1),), indices)


def remember(found, answers=ANSWERED, indices=INDICES):
    found.note(indices, answers)
    found.after_step(nn.Linear(1, 1))


def test_labels_are_hard_until_there_is_a_past_and_lean_on_it_more_every_epoch():
    found = past()
    assert torch.equal(softened(found).main, HARD.main)
    remember(found)
    # alpha is 0.8 * (e + 1) / 4: 0.2 and 0.4; half of it goes to either class
    for epoch, wrong in ((0, 0.1), (1, 0.2)):
        assert found.epoch == epoch
        main, joint = softened(found)
        torch.testing.assert_close(main, torch.tensor([[1 - wrong, wrong], [wrong, 1 - wrong]]))
        expected = (1 - 2 * wrong) * HARD.joint + 2 * wrong * 0.25
        torch.testing.assert_close(joint, expected)
        found.after_epoch(epoch)


def test_only_samples_that_were_answered_are_softened():
    found = past()
    remember(found)
    main, _ = softened(found, torch.tensor([1, 2]))
    torch.testing.assert_close(main[0], torch.tensor([0.9, 0.1]))
    assert torch.equal(main[1], HARD.main[1])


def test_a_step_that_is_not_taken_is_forgotten():
    found = past()
    found.note(INDICES, ANSWERED)
    assert torch.equal(softened(found).main, HARD.main)
    assert not found.state()["known"].any()
    found.after_step(nn.Linear(1, 1))
    assert found.state()["known"].nonzero().flatten().tolist() == [1, 4]


def test_a_weight_of_zero_keeps_no_memory():
    found = past(weight=0.0)
    remember(found)
    assert softened(found) is HARD
    assert found.state().keys() == {"epoch"}


@pytest.mark.parametrize("source", ["table", "previous"])
def test_its_state_goes_on_where_it_stood(source):
    found = past(source=source)
    remember(found)
    found.after_epoch(0)
    state = {name: tensor.clone() for name, tensor in found.state().items()}
    again = past(state, source=source)
    assert again.epoch == 1
    for own, other in zip(softened(again), softened(found), strict=True):
        assert torch.equal(own, other)


def test_the_weights_of_the_epoch_are_the_past_of_the_next():
    """Of the module that is trained, which a step of the optimizer has changed by then."""
    module = nn.Linear(1, 1)
    found = past(module=module, source="previous")
    with torch.no_grad():
        module.weight.fill_(7.0)
    found.after_epoch(0)
    assert found.state()["past.weight"].item() == 7.0


def test_a_table_that_does_not_fit_is_refused_and_what_is_chosen_is_said():
    with pytest.raises(ConfigError, match="raise table_limit_mb"):
        past(samples=60_000, source="table", table_limit_mb=1)
    console = Console()
    past(samples=60_000, table_limit_mb=1, console=console)
    assert "previous epoch's weights are run forward" in console.said[0]


@pytest.mark.parametrize(
    ("soft_labels", "keeps"),
    [
        ({"source": "table"}, True),
        ({"source": "previous"}, False),
        ({"source": "ema"}, False),
        ({"weight": 0}, False),
    ],
)
def test_only_a_table_asks_for_answers(soft_labels, keeps):
    assert past(**soft_labels).keeps_answers == keeps


def test_an_average_follows_the_weights_of_every_step():
    found = past(source="ema", ema_decay=0.5)
    layer = nn.Linear(1, 1)
    for value in (1.0, 3.0):
        nn.init.constant_(layer.weight, value)
        found.after_step(layer)
    assert found.state()["past.weight"].item() == 2.0
