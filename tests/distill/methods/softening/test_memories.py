import pytest
import torch
from torch import nn
from two_processes import say_of_both

from edgekd.config import SoftLabelsRecipe
from edgekd.distill.methods.softening.memories import (
    NetworkMemory,
    TableMemory,
    make_memory,
    row_width,
)
from edgekd.distill.methods.softening.soft_labels import Answers, soften
from edgekd.errors import ConfigError

CPU = torch.device("cpu")


class Listener:
    def __init__(self):
        self.said = []

    def info(self, text):
        self.said.append(text)


def memory(console, **table):
    return make_memory(
        SoftLabelsRecipe(**table),
        num_samples=1000,
        shape=(4, 3, 10),
        respond=lambda network, inputs: None,
        device=CPU,
        console=console,
    )


def test_the_table_returns_what_was_stored_for_sample_and_transformation():
    shape = (4, 3, 10)
    table = TableMemory(7, shape, device=CPU)
    generator = torch.Generator().manual_seed(0)
    stored = {}
    for indices in (torch.tensor([5, 1]), torch.tensor([0, 6])):
        main = torch.rand(2, 10, generator=generator).softmax(dim=1)
        joint = torch.rand(2, 4, 3, 40, generator=generator).softmax(dim=3)
        table.keep(indices, Answers(main, joint))
        stored |= {int(i): (main[n], joint[n]) for n, i in enumerate(indices)}
    asked = torch.tensor([6, 2, 1])  # another order than they came in
    (main, joint), known = table.recall((), asked)
    assert known.tolist() == [True, False, True]
    for row, sample in ((0, 6), (2, 1)):
        torch.testing.assert_close(main[row], stored[sample][0], atol=1e-3, rtol=0)
        torch.testing.assert_close(joint[row], stored[sample][1], atol=1e-4, rtol=0)
    torch.testing.assert_close(main[known].sum(dim=1), torch.ones(2))
    torch.testing.assert_close(joint[known].sum(dim=3), torch.ones(2, 4, 3))


def test_the_first_epoch_has_hard_labels():
    hard = torch.eye(10)[[3]]
    (main, _), known = TableMemory(2, (1, 0, 10), device=CPU).recall((), torch.tensor([1]))
    assert torch.equal(soften(hard, main, known, 0.8), hard)


def test_auto_takes_a_table_while_it_fits_and_says_so():
    console = Listener()
    assert isinstance(memory(console), TableMemory)
    assert "table of 980.0 kB" in console.said[0]  # 1000 * (10 + 4 * 3 * 40) * 2 B = 0.98 MB
    assert row_width((4, 3, 10)) == 490


def test_beyond_the_limit_past_weights_answer():
    recipe = SoftLabelsRecipe(table_limit_mb=1)
    console = Listener()
    found = make_memory(
        recipe,
        num_samples=2000,
        shape=(4, 3, 10),
        respond=lambda network, inputs: None,
        device=CPU,
        console=console,
    )
    assert isinstance(found, NetworkMemory)
    assert "previous epoch's weights are run forward" in console.said[0]


def test_a_table_that_does_not_fit_is_refused_where_it_was_asked_for():
    with pytest.raises(ConfigError, match="raise table_limit_mb"):
        make_memory(
            SoftLabelsRecipe(source="table", table_limit_mb=1),
            num_samples=2000,
            shape=(4, 3, 10),
            respond=lambda network, inputs: None,
            device=CPU,
            console=Listener(),
        )


def linear(value):
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def first(network, inputs):
    return Answers(network(*inputs), torch.zeros(1, 1, 0, 1))


def test_previous_weights_are_those_of_the_last_epoch():
    found = NetworkMemory(first, decay=None, device=CPU)
    layer, x = linear(2.0), (torch.ones(1, 1),)
    assert found.recall(x, torch.tensor([0])) is None
    found.after_epoch(layer)
    nn.init.constant_(layer.weight, 5.0)
    answers, known = found.recall(x, torch.tensor([0]))
    assert (answers.main.item(), known.tolist()) == (2.0, [True])
    again = NetworkMemory(first, decay=None, device=CPU)
    again.load_state(found.state(), linear(0.0))
    assert again.recall(x, torch.tensor([0])).answers.main.item() == 2.0


def test_the_average_moves_by_hand():
    found = NetworkMemory(first, decay=0.75, device=CPU)
    layer = linear(2.0)
    found.after_step(layer)
    nn.init.constant_(layer.weight, 6.0)
    found.after_step(layer)
    found.after_epoch(layer)
    answers, _ = found.recall((torch.ones(1, 1),), torch.tensor([0]))
    assert answers.main.item() == 3.0  # 0.75 * 2 + 0.25 * 6


TWO = """
import sys
import torch
from torch import distributed, nn
from edgekd.distill.methods.softening.memories import NetworkMemory

rank = int(sys.argv[2])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2)
for decay in (None, 0.75):
    memory = NetworkMemory(None, decay=decay, device=torch.device("cpu"))
    norm = nn.BatchNorm1d(2)
    for step in (1, 2):
        norm.running_mean.fill_(10.0 * rank + step)  # each has seen its share of the batch
        memory.after_step(norm)
    memory.after_epoch(norm)
    print(memory.state()["past.running_mean"].tolist())
distributed.destroy_process_group()
"""


def test_two_processes_remember_the_statistics_of_the_first(tmp_path):
    for said in say_of_both(TWO, tmp_path):
        # the last step's; 0.75 * 1 + 0.25 * 2
        assert said.splitlines()[-2:] == ["[2.0, 2.0]", "[1.25, 1.25]"]
