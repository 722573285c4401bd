"""Which weights of operators in float are stored in 8 bits: all, or all but small ones.

In a deep network of thin layers the rounding of weights alone can use the whole error budget. The
first layers disturb the answer most, since all others pass their errors on, and have the fewest
weights: left in float they cost few bytes.
"""

from collections.abc import Sequence
from typing import Final

from edgekd.export.quantization.candidates import Workbench
from edgekd.export.quantization.units import Choices, Unit, prefer

_SHARES: Final = (0.01, 0.02, 0.05, 0.1)  # of all weights; a tenth in float adds 7.5 % to a file


def quiet_storage(bench: Workbench, wanted_db: float) -> Choices:
    """Everything in float, and as many weights in 8 bits as the answers bear.

    Args:
        bench: Makes and measures the candidates.
        wanted_db: SQNR to reach; where nothing does, the best that was found.
    """
    units = bench.quantizer.units
    best = prefer(units)
    candidate = bench.make(best, "weights in 8 bits")
    if candidate.path is None:
        return best
    level = bench.sqnr_db(candidate)
    for share in _SHARES:
        if level >= wanted_db:
            break
        choices = spare_small_weights(units, share)
        candidate = bench.make(choices, f"weights in 8 bits but {share:.0%} of them")
        found = bench.sqnr_db(candidate)
        if found > level:
            best, level = choices, found
    return best


def spare_small_weights(units: Sequence[Unit], share: float) -> Choices:
    """Weights in 8 bits, but the smallest tensors in float, up to a share of all weights.

    >>> small, large = (
    ...     Unit(name=name, kind="Conv", choices=("static", "weights"), num_weights=count)
    ...     for name, count in (("small", 10), ("large", 90))
    ... )
    >>> spare_small_weights([small, large], 0.1), spare_small_weights([small, large], 0.09)
    ({'small': 'float', 'large': 'weights'}, {'small': 'weights', 'large': 'weights'})
    """
    choices = dict(prefer(units))
    left = share * sum(unit.num_weights for unit in units)
    for unit in sorted(units, key=lambda unit: unit.num_weights):
        left -= unit.num_weights
        if left < 0:
            break
        if unit.num_weights:
            choices[unit.name] = "float"
    return choices
