import pytest
import torch
from torch import nn
from two_processes import say_of_both

from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.compression import (
    Compression,
    Pooled,
    clear_channels,
    load_channels,
)
from edgekd.distill.methods.cdd.costs import SiteCosts
from edgekd.distill.methods.cdd.goal import Goal
from edgekd.distill.methods.cdd.indicator import IndicatedNorm
from edgekd.distill.methods.cdd.pull import Pull
from edgekd.distill.methods.cdd.target import Target


def indicator(*lengths):
    """An indicator whose row c is ``lengths[c]`` times the unit vector c."""
    part = IndicatedNorm(nn.BatchNorm2d(len(lengths)), nn.Identity())
    with torch.no_grad():
        part.indicator.weight.mul_(torch.tensor(lengths).view(-1, 1, 1, 1))
    return part


def compression(*widths, target=None, **recipe):
    pull = Pull(0.1, lambda step: 1.0, momentum=0.0, steps=(0, 10), deadline=False)
    return Compression(
        CddRecipe(queue_size=8, **recipe),
        [Channels.all_of(width) for width in widths],
        class_neighbours=False,
        pull=pull,
        target=target,
    )


def half(width):
    """Ten per channel and nothing else: half of them have to go."""
    costs = SiteCosts(full=10 * width, fixed=0, per_channel=(10,))
    return Target([Goal(unit="macs", costs=costs, share=0.5)], [width])


def test_short_rows_and_dead_channels_go():
    work = compression(4, threshold=1e-3)
    work.channels[0].dead[2] = True
    (kept,) = work.survivors([indicator(1.0, 1e-4, 1.0, 2e-3)], [None])
    assert kept.tolist() == [0, 3]


def test_with_a_target_a_row_has_to_be_masked_as_well():
    work = compression(4, target=half(4))
    work.channels[0].mask[1] = False
    (kept,) = work.survivors([indicator(0.0, 0.0, 1.0, 1.0)], [None])
    assert kept.tolist() == [0, 2, 3]


def test_the_longest_row_stays_if_all_would_go():
    (kept,) = compression(3).survivors([indicator(1e-9, 3e-9, 2e-9)], [None])
    assert kept.tolist() == [1]


def test_behind_a_depthwise_convolution_a_bias_speaks_for_its_channel():
    follower = nn.BatchNorm2d(3)
    with torch.no_grad():
        follower.bias.copy_(torch.tensor([0.0, 0.5, 0.0]))
    (kept,) = compression(3).survivors([indicator(1.0, 0.0, 0.0)], [follower])
    assert kept.tolist() == [0, 1]


def test_one_channel_lives_even_if_all_are_dead():
    work = compression(3, 2)
    work.channels[0].dead[:] = True
    work.channels[1].dead[0] = True
    assert [kept.tolist() for kept in work.living()] == [[0], [1]]


def test_what_a_dead_channel_passes_on_is_zero():
    part, follower = indicator(1.0, 1.0), nn.BatchNorm2d(2)
    with torch.no_grad():
        follower.bias.fill_(2.0)
        follower.running_mean.fill_(3.0)
    clear_channels(part.indicator.weight, follower, torch.tensor([False, True]))
    assert part.rows().tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert follower.bias.tolist() == [2.0, 0.0]
    assert follower.running_mean.tolist() == [3.0, 0.0]


def step(work, part, gradient):
    part.indicator.weight.grad = gradient.view_as(part.indicator.weight).clone()
    width = len(part.rows())
    seen = Pooled(
        teacher=[torch.ones(2, width)],
        student=[torch.ones(2, width)],
        labels=torch.zeros(2, dtype=torch.int64),
    )
    work.step([part], [None], seen, step=0, progress=1.0)
    return part.indicator.weight.grad.flatten(1)


def test_magnitude_masks_the_shortest_rows_and_only_they_lose_the_task_gradient():
    work = compression(4, target=half(4), mask="magnitude", target_macs=0.5, compression=0.1)
    found = step(work, indicator(4.0, 1.0, 3.0, 2.0), torch.full((4, 4), 7.0))
    assert work.channels[0].mask.tolist() == [True, False, True, False]
    pull = 0.1 * torch.eye(4)  # of masked rows; the target is reached, so others have no lasso
    pull[[0, 2]] = 0
    task = torch.full((4, 4), 7.0)
    task[[1, 3]] = 0
    torch.testing.assert_close(found, task + pull)


def test_a_masked_row_within_the_swing_of_the_pull_is_dead_at_once():
    work = compression(2)
    work.channels[0].mask[1] = False
    part = indicator(1.0, 0.05)  # the swing is rate 1 times pull 0.1
    step(work, part, torch.zeros(2, 2))
    assert work.channels[0].dead.tolist() == [False, True]
    assert part.rows()[1].tolist() == [0.0, 0.0]


def test_the_longest_row_never_dies_when_all_are_masked():
    work = compression(3)
    work.channels[0].mask[:] = False
    part = indicator(0.03, 0.05, 0.04)  # all within the swing of 0.1
    for _ in range(2):
        found = step(work, part, torch.full((3, 3), 7.0))
        assert work.channels[0].dead.tolist() == [True, False, True]
        assert part.rows().diag().tolist() == pytest.approx([0.0, 0.05, 0.0])
        assert found[1].tolist() == [0.0, 0.0, 0.0]  # neither the task nor the pull moves it
    assert [kept.tolist() for kept in work.survivors([part], [None])] == [[1]]
    assert [kept.tolist() for kept in work.living()] == [[1]]


@pytest.mark.parametrize("removed", [0, 2])
def test_removed_channels_count_among_the_small_ones(removed):
    """Of 6 channels 3 may be small; 2 that are gone leave one place."""
    work = compression(6)
    work.channels[0].keep(torch.arange(6 - removed))
    width = 6 - removed
    part = indicator(*[1.0] * width)
    part.indicator.weight.grad = torch.zeros_like(part.indicator.weight)
    seen = Pooled(
        teacher=[torch.ones(2, 6)],
        student=[torch.arange(1.0, width + 1).repeat(2, 1)],
        labels=torch.zeros(2, dtype=torch.int64),
    )
    work.step([part], [None], seen, step=0, progress=0.5)
    lost = (~work.channels[0].mask).nonzero().flatten().tolist()
    assert lost == list(range(3 - removed))


def test_the_state_brings_masks_and_queue_back():
    work = compression(2)
    step(work, indicator(1.0, 1.0), torch.zeros(2, 2))
    state = work.state()
    again = compression(2)
    again.channels = load_channels(state)
    again.load_queue(state)
    assert again.state().keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(again.state()[name], tensor), name


TWO = """
import sys
import torch
from torch import distributed, nn
from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.compression import Compression, Pooled
from edgekd.distill.methods.cdd.indicator import IndicatedNorm
from edgekd.distill.methods.cdd.pull import Pull

rank = int(sys.argv[2])
store = f"file://{sys.argv[1]}"
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
part = IndicatedNorm(nn.BatchNorm2d(8), nn.Identity())
part.indicator.weight.grad = torch.zeros_like(part.indicator.weight)
pull = Pull(0.1, lambda step: 0.1, momentum=0.0, steps=(0, 10), deadline=False)
rule = Compression(
    CddRecipe(queue_size=16),
    [Channels.all_of(8)],
    class_neighbours=False,
    pull=pull,
    target=None,
)
generator = torch.Generator().manual_seed(rank)
for step in range(3):
    strength = torch.tensor([1e-4, 1e-4, 1, 1, 1, 1, 1, 1])
    seen = torch.rand(4, 8, generator=generator) * strength
    pooled = Pooled(teacher=[seen], student=[seen], labels=torch.arange(4))
    rule.step([part], [None], pooled, step=step, progress=0.1)
assert len(rule.queue.labels) == 16
assert not rule.channels[0].mask[:2].any()
for name, tensor in rule.state().items():
    other = [torch.empty_like(tensor) for _ in range(2)]
    distributed.all_gather(other, tensor)
    assert torch.equal(other[0], other[1]), name
print("agreed")
distributed.destroy_process_group()
"""


def test_two_processes_come_to_the_same_masks_and_queues(tmp_path):
    assert all("agreed" in said for said in say_of_both(TWO, tmp_path))
