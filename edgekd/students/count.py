"""Parameters and multiply-accumulates of a network, counted while one sample runs through it.

One MAC is one multiplication with its addition, so a FLOP count is twice as large. Counted are
convolutions, matrix products and fused attention. Elementwise operators, reductions, views,
pooling and normalisation count as zero (see :mod:`edgekd.students.operator_costs`). Every other
operator is reported, never dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from edgekd.students.at_rest import at_rest
from edgekd.students.operator_costs import FORMULAS, is_without_macs


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one sample costs.

    Attributes:
        num_params: Elements of all parameters, shared ones once; buffers are not parameters.
        macs: Multiply-accumulates of one forward pass at batch size 1.
        uncounted_operators: Sorted names of operators without a formula; empty when ``macs`` is
            exact.
    """

    num_params: int
    macs: int
    uncounted_operators: tuple[str, ...]

    @property
    def text(self) -> str:
        """Parameters and MACs for a line of the log, with what the MACs leave out.

        >>> Cost(num_params=4608, macs=294912, uncounted_operators=("aten::_fft_r2c",)).text
        '4,608 parameters, 294,912 MACs (without aten::_fft_r2c, which could not be counted)'
        """
        missing = ", ".join(self.uncounted_operators)
        note = f" (without {missing}, which could not be counted)" if missing else ""
        return f"{self.num_params:,} parameters, {self.macs:,} MACs{note}"


def count_cost(module: nn.Module, input_shapes: Sequence[tuple[int, ...]]) -> Cost:
    """Count a module by running it once, in eval mode and without gradients, on zeros.

    The real kernels run, so control flow that depends on data is no obstacle. The module's
    training flags are restored, also when the pass fails.

    >>> count_cost(nn.Conv2d(16, 32, 3, padding=1, bias=False), [(16, 8, 8)])
    Cost(num_params=4608, macs=294912, uncounted_operators=())

    Args:
        module: Called with one tensor per entry of ``input_shapes``.
        input_shapes: Shapes without the batch axis, for example ``[(3, 32, 32)]``.
    """
    like = next(module.parameters(), torch.empty(0))
    inputs = [like.new_zeros(1, *shape) for shape in input_shapes]
    counter = _MacCounter()
    with at_rest(module), _composite_attention(), counter:
        module(*inputs)
    return Cost(
        num_params=sum(p.numel() for p in module.parameters()),
        macs=counter.macs,
        uncounted_operators=tuple(sorted(counter.uncounted)),
    )


class _MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's hook
    """Adds up the formulas of the operators that run while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = dict(kwargs or {})
        name = func._schema.name
        formula = FORMULAS.get(name)
        if formula is not None:
            self.macs += formula(*args, **keywords)
        elif not is_without_macs(func, name):
            with self:  # a composite operator is counted by what it is made of
                result = func.decompose(*args, **keywords)
            if result is not NotImplemented:
                return result
            self.uncounted.add(name)
        return func(*args, **keywords)


@contextmanager
def _composite_attention() -> Iterator[None]:
    """Keep ``nn.MultiheadAttention`` and encoder layers off their one-operator inference path."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
