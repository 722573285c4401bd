"""A network that computes as a strict int8 file of it would, and can be trained so.

Nothing in the network is replaced: its own forward pass runs, and where it calls an operator that
an int8 file computes in 8 bits, operands are rounded first. A tensor that two operators read is
rounded once, as in a file. So an activation in front of a product is the range's place, not the
product in front of the activation, just as the writers fold an activation into its product.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgekd.errors import ModelError
from edgekd.students.fake_quantization import calmed, fake_quantize, fake_quantize_weights

_PRODUCTS: Final = frozenset({"conv1d", "conv2d", "linear"})
"""Operators with an activation and weights, whose first axis is that of the output channels."""
_STORED: Final = frozenset({"conv_transpose1d", "conv_transpose2d"})
"""Operators that files compute in float, from 8-bit weights whose output channels are axis 1."""
_OPERATORS: Final = frozenset(
    {
        "adaptive_avg_pool1d", "adaptive_avg_pool2d", "add", "avg_pool1d", "avg_pool2d", "bmm",
        "cat", "div", "gelu", "hardsigmoid", "hardswish", "iadd", "imul", "isub", "itruediv",
        "layer_norm", "leaky_relu", "matmul", "mean", "mul", "radd", "rmul", "rsub", "rtruediv",
        "scaled_dot_product_attention", "sigmoid", "silu", "softmax", "sub", "tanh", "truediv",
    }
)  # fmt: skip
"""Further operators whose operands a strict file holds in 8 bits, as torch calls them."""
_SMALLEST_STRETCH: Final = 0.1
_PACE: Final = 0.05  # share of the present batch in a range that follows
_TOLERANCE: Final = 1e-4  # relative to the largest answer

Visit = Callable[[int, str, Tensor], Tensor]
"""From the number of a tensor, who reads it, and the tensor itself to what is read instead."""


class FakeQuantized(nn.Module):
    """The strictest int8 form of a network: 8-bit weights per channel, every range learned.

    A file that computes some operators in float rounds at fewer places (:meth:`leave_in_float`).

    BatchNorm need not be folded: it scales whole output channels, and so the rounding of weights
    with one scale per channel is the same in front of it and behind it.

    Args:
        network: Trained in place.
        inputs: One batch per input, to find the tensors that are rounded.
        weight_bits: Of weights; some processors want 7.
        activation_bits: Of activations.
        as_deployed: Whether the network stays in eval mode while it is trained: its dropout off,
            the statistics of its norms fixed.

    Attributes:
        points: Names of the rounded tensors, in the order in which they are read first.

    Raises:
        ModelError: If the network works in a way that cannot be followed.
    """

    calibrated: Tensor
    rounding: Tensor
    """1 where it rounds; 0 where it computes in float and ranges follow what training sees."""

    def __init__(
        self,
        network: nn.Module,
        inputs: Sequence[Tensor],
        *,
        weight_bits: int = 8,
        activation_bits: int = 8,
        as_deployed: bool = True,
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self._as_deployed = as_deployed
        self._weight_bits, self._activation_bits = weight_bits, activation_bits
        self.points = self._find_points(inputs)
        self._in_float: frozenset[int] = frozenset()
        self.network.requires_grad_(True)
        self.register_buffer("calibrated", torch.zeros(len(self.points), 2))
        self.register_buffer("rounding", torch.ones(()))
        # relative to what was calibrated, so that one learning rate suits all of them
        self.stretch = nn.Parameter(torch.ones(len(self.points), 2))

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the int8 file answers to normalised ``inputs``: ``(B, K)`` or ``(B, D)``."""
        if not self.rounding:
            # ranges take part in every step, which training in several processes demands
            return self._run(inputs, self._followed, None) + 0 * self.stretch.sum()
        limits = (self.calibrated * self.stretch).unbind()

        def rounded(number: int, _: str, x: Tensor) -> Tensor:
            if number >= len(limits):
                raise ModelError(
                    "the network takes another way for other samples; it cannot be trained for int8"
                )
            if number in self._in_float:
                return x
            low, high = calmed(limits[number], x.numel()).unbind()
            return fake_quantize(x, low, high, bits=self._activation_bits)

        return self._run(inputs, rounded, self._weight_bits)

    @torch.no_grad()
    def observe(self, inputs: Sequence[Tensor], add: Callable[[str, NDArray[Any]], None]) -> None:
        """Run in float and show every tensor that would be rounded.

        Args:
            inputs: One normalised batch per input.
            add: Gets a point's name and its values.
        """

        def shown(number: int, _: str, x: Tensor) -> Tensor:
            add(self.points[number], x.numpy())
            return x

        self._run(inputs, shown, None)

    def calibrate(self, ranges: Mapping[str, tuple[float, float]]) -> None:
        """Set every point's range, from which learning starts."""
        limits = torch.tensor([ranges[name] for name in self.points], dtype=torch.float32)
        with torch.no_grad():
            self.calibrated.copy_(limits.view(-1, 2))
            self.stretch.fill_(1.0)

    def leave_in_float(self, names: Collection[str]) -> None:
        """Round these points no more: the file that is trained for reads them in float."""
        self._in_float = frozenset(self.points.index(name) for name in names)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Every rounded point's range as learned so far."""
        limits = (self.calibrated * self.stretch.detach()).tolist()
        return {
            name: (low, high)
            for number, (name, (low, high)) in enumerate(zip(self.points, limits, strict=True))
            if number not in self._in_float
        }

    def limit_ranges(self) -> None:
        """Keep every range from collapsing or changing its sign; after every step."""
        with torch.no_grad():
            self.stretch.clamp_(min=_SMALLEST_STRETCH)

    def train(self, mode: bool = True) -> "FakeQuantized":
        """Set the mode; the network itself may stay as it is deployed."""
        super().train(mode)
        if self._as_deployed:
            self.network.eval()
        return self

    def _followed(self, number: int, _: str, x: Tensor) -> Tensor:
        """Move a range towards what one batch of the training holds."""
        if self.training:
            with torch.no_grad():
                limits, now = self.calibrated[number], torch.stack([x.min(), x.max()]).float()
                limits.copy_(torch.where((limits == 0).all(), now, limits.lerp(now, _PACE)))
        return x

    def _run(self, inputs: Sequence[Tensor], visit: Visit, weight_bits: int | None) -> Tensor:
        reading = _Reading(self.network, visit, weight_bits)
        with reading:
            answer: Tensor = self.network(*inputs)
        return reading.read(answer, "answer")

    @torch.no_grad()
    def _find_points(self, inputs: Sequence[Tensor]) -> tuple[str, ...]:
        names: list[str] = []

        def copied(number: int, reader: str, x: Tensor) -> Tensor:
            names.append(f"{number}: {reader}")
            return x.clone()

        expected: Tensor = self.network(*(x.clone() for x in inputs))
        found = self._run([x.clone() for x in inputs], copied, None)
        if len(names) < 2:
            raise ModelError(
                f"{type(self.network).__name__} computes nothing that int8 is trained for"
            )
        largest = max(1.0, float(expected.abs().max()))
        if not float((expected - found).abs().max()) <= _TOLERANCE * largest:
            raise ModelError(
                f"{type(self.network).__name__} changes tensors in place that are read elsewhere; "
                "it cannot be trained for int8"
            )
        return tuple(names)


class _Reading(TorchFunctionMode):
    """Puts something else in the place of every operand that is read in 8 bits."""

    def __init__(self, network: nn.Module, visit: Visit, weight_bits: int | None) -> None:
        super().__init__()
        self._constants = {id(parameter) for parameter in network.parameters()}
        self._visit, self._weight_bits = visit, weight_bits
        self._read: dict[tuple[int, int], Tensor] = {}
        self._alive: list[Tensor] = []  # ids stay unique only while their owners live

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")  # add_ and __add__ are additions
        if name in _PRODUCTS:
            args = self._product(name, args)
        elif name in _STORED:
            x, weights, *others = args
            args = x, self._rounded(weights, axis=1), *others
        elif name in _OPERATORS:
            args = tuple(self._operand(value, name) for value in args)
        return func(*args, **kwargs)

    def read(self, x: Tensor, reader: str) -> Tensor:
        """What is read in the place of an activation, the same for every reader."""
        key = (id(x), x._version)
        if key not in self._read:
            self._alive.append(x)
            self._read[key] = self._visit(len(self._read), reader, x)
        return self._read[key]

    def _product(self, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x, weights, *others = args
        return self.read(x, name), self._rounded(weights), *others

    def _operand(self, value: Any, name: str) -> Any:
        if isinstance(value, list | tuple) and any(isinstance(item, Tensor) for item in value):
            return type(value)(self._operand(item, name) for item in value)
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0:
            return value
        return value if id(value) in self._constants else self.read(value, name)

    def _rounded(self, weights: Tensor, *, axis: int = 0) -> Tensor:
        if self._weight_bits is None:
            return weights
        return fake_quantize_weights(weights, axis=axis, bits=self._weight_bits)
