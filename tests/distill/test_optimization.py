import math

import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.optimization import (
    decay_groups,
    learning_rate,
    make_average,
    make_optimizer,
    restore_optimizer,
)


def recipe(**changes):
    return TrainRecipe(data="builtin:digits", student="resnet8", **changes)


def test_the_schedule_warms_up_peaks_and_ends_at_the_floor():
    plan = recipe(epochs=10, lr=0.4, warmup_epochs=2, min_lr=0.001)
    rates = [learning_rate(plan, step, steps_per_epoch=5) for step in range(50)]
    assert rates[:3] == pytest.approx([0.04, 0.08, 0.12])
    assert max(rates) == rates[9] == rates[10] == pytest.approx(0.4)
    assert rates[30] == pytest.approx(0.001 + 0.399 * 0.5)  # half-way down the cosine
    last = 0.001 + 0.399 * (1 + math.cos(math.pi * 39 / 40)) / 2
    assert rates[49] == pytest.approx(last)


def test_warm_up_never_eats_more_than_half_of_a_short_run():
    plan = recipe(epochs=1, lr=1.0, warmup_epochs=5)
    assert learning_rate(plan, 4, steps_per_epoch=10) == pytest.approx(1.0)


def test_norms_and_biases_do_not_decay():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    groups = decay_groups(module.named_parameters(), 0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in groups] == [2, 4]


def test_sgd_with_nesterov_by_hand():
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    optimizer = make_optimizer(module, recipe(lr=0.1, momentum=0.9, weight_decay=0.0))
    for _ in range(2):
        module.weight.grad = torch.ones(1, 1)
        optimizer.step()
    # v1 = 1, step 1 + .9 * 1 = 1.9; v2 = .9 + 1 = 1.9, step 1 + .9 * 1.9 = 2.71
    assert module.weight.item() == pytest.approx(1 - 0.1 * (1.9 + 2.71))


def test_a_restored_momentum_lies_in_memory_as_its_kernel_does():
    module = nn.Conv2d(3, 4, 3, bias=False).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(module, recipe(lr=0.1))
    module.weight.grad = torch.randn_like(module.weight)
    optimizer.step()
    saved = optimizer.state_dict()
    momentum = saved["state"][0]["momentum_buffer"].clone()
    plain = {"momentum_buffer": momentum.contiguous()}  # as a checkpoint stores it
    fresh = make_optimizer(module, recipe(lr=0.1))
    restore_optimizer(fresh, saved | {"state": {0: plain}})
    restored = fresh.state[module.weight]["momentum_buffer"]
    assert restored.stride() == module.weight.stride() != momentum.contiguous().stride()
    assert torch.equal(restored, momentum)


def test_the_average_follows_the_closed_form():
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    average = make_average(module, 0.9)
    average.update_parameters(module)
    module.weight.data.fill_(1.0)
    average.update_parameters(module)
    average.update_parameters(module)
    assert average.module.weight.item() == pytest.approx(1 - 0.9**2)
