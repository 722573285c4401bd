"""The adjusted network of a recorded adjustment."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgekd.errors import ConfigError
from edgekd.export.adjustments.record import (
    STEPS_PER_OCTAVE,
    Adjustments,
    BiasShift,
    ChannelScaling,
)


def adjusted(network: nn.Module, adjustments: Adjustments) -> nn.Module:
    """A copy with the adjustments in its parameters; ``network`` itself where there are none.

    Args:
        network: What ``prepare_for_export`` returned; it stays as it is.
        adjustments: Made for this network.

    Raises:
        ConfigError: If they were made for another network.
    """
    if not adjustments:
        return network
    changed = copy.deepcopy(network)
    for scaling in adjustments.scalings:
        scale(changed, scaling)
    for shift in adjustments.shifts:
        _shift(changed, shift)
    return changed


@torch.no_grad()
def scale(network: nn.Module, scaling: ChannelScaling) -> None:
    """Take the factors out of what makes the channels and put them into what reads them.

    Args:
        network: Changed in place.
        scaling: Made for it.

    Raises:
        ConfigError: If it was made for another network.
    """
    made = factors(scaling.eighths)
    for name in scaling.divided:
        parameter = _parameter(network, name)
        if parameter.dim() == 0 or parameter.shape[0] != len(made):
            raise _misfit(name, parameter, len(made))
        _set(parameter, parameter.double() / _along(made, parameter, axis=0))
    for name in scaling.multiplied:
        parameter = _parameter(network, name)
        _set(parameter, parameter.double() * read_factors(made, parameter, name))


def factors(eighths: Sequence[int]) -> Tensor:
    """``(C,)``, double: ``2 ** (eighths / 8)``."""
    return torch.tensor(eighths, dtype=torch.float64).div(STEPS_PER_OCTAVE).exp2()


def read_factors(made: Tensor, weight: Tensor, name: str = "weight") -> Tensor:
    """The factors as a weight that reads the channels needs them, ready to multiply.

    Args:
        made: ``(C,)``, of all channels.
        weight: ``(O, C / groups, ...)``; output ``o`` reads the channels of its own group.
        name: Of the weight, for the error.

    Returns:
        ``(O, C / groups, 1, ...)``.

    Raises:
        ConfigError: If the weight does not read ``C`` channels.
    """
    if weight.dim() < 2 or len(made) % weight.shape[1]:
        raise _misfit(name, weight, len(made))
    groups = len(made) // weight.shape[1]
    if weight.shape[0] % groups:
        raise _misfit(name, weight, len(made))
    rows = made.view(groups, weight.shape[1]).repeat_interleave(weight.shape[0] // groups, dim=0)
    return rows.view(*rows.shape, *(1 for _ in weight.shape[2:]))


@torch.no_grad()
def _shift(network: nn.Module, shift: BiasShift) -> None:
    bias = _parameter(network, shift.parameter)
    if bias.shape != (len(shift.levels),):
        raise _misfit(shift.parameter, bias, len(shift.levels))
    _set(bias, bias.double() + torch.tensor(shift.levels, dtype=torch.float64) * shift.step)


def _parameter(network: nn.Module, name: str) -> nn.Parameter:
    try:
        return network.get_parameter(name)
    except AttributeError as error:
        raise ConfigError(
            f"int8 recipe: adjusts {name!r}, which this network does not have; "
            "give the bundle it was made with"
        ) from error


def _set(parameter: nn.Parameter, values: Tensor) -> None:
    parameter.copy_(values.to(parameter.dtype))


def _along(values: Tensor, like: Tensor, *, axis: int) -> Tensor:
    shape = [1] * like.dim()
    shape[axis] = -1
    return values.view(shape)


def _misfit(name: str, found: Tensor, channels: int) -> ConfigError:
    return ConfigError(
        f"int8 recipe: adjusts {channels} channels of {name!r}, which is {tuple(found.shape)} in "
        "this network; give the bundle it was made with"
    )
