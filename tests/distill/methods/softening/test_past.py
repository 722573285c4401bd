import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.methods.protocol import Run
from edgekd.distill.methods.softening.past import Past
from edgekd.distill.methods.softening.soft_labels import Answers

INDICES = torch.tensor([3, 1])
ANSWERS = Answers(torch.tensor([[0.25, 0.75], [1.0, 0.0]]), torch.zeros(2, 1, 0, 2))


def past(**soft_labels):
    recipe = TrainRecipe(data="x", student="resnet8", epochs=4, soft_labels=soft_labels).settled(9)
    return Past(
        recipe,
        Run(input_shape=(1, 4), steps_per_epoch=1, num_samples=9),
        nn.Linear(1, 2),
        shape=(1, 0, 2),
        respond=lambda network, inputs: ANSWERS,
        saved={},
    )


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
    layer = nn.Linear(1, 2)
    for value in (1.0, 3.0):
        nn.init.constant_(layer.weight, value)
        found.after_step(layer)
    assert found.state()["past.weight"].flatten().tolist() == [2.0, 2.0]
