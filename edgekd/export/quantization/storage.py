"""Which weights of operators in float are stored in 8 bits: all, or all but small ones.

In a deep network of thin layers the rounding of weights alone can use the whole error budget. The
first layers disturb the answer most, since all others pass their errors on, and have the fewest
weights: left in float they cost few bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from edgekd.export.quantization.candidates import Candidate, Workbench
from edgekd.export.quantization.units import Choices, Unit, prefer

_SHARES: Final = (0.01, 0.02, 0.05, 0.1)  # of all weights; a tenth in float adds 7.5 % to a file


def quiet_storage(bench: Workbench, wanted_db: float) -> Choices:
    """Everything in float, and as many weights in 8 bits as the answers bear.

    Args:
        bench: Makes and measures the candidates.
        wanted_db: SQNR to reach; where nothing does, the best that was found.
    """
    stored = storages(bench)
    best = next(stored)
    if best.path is None:
        return best.choices
    while bench.sqnr_db(best) < wanted_db and (candidate := next(stored, None)) is not None:
        if bench.sqnr_db(candidate) > bench.sqnr_db(best):
            best = candidate
    return best.choices


def borne_storage(bench: Workbench, stored: Candidate, accept: Callable[[Path], bool]) -> Candidate:
    """``stored`` or, where the task does not bear it, more weights in float while there is time.

    Args:
        bench: Makes and measures the candidates.
        stored: As many weights in 8 bits as the SQNR asks for.
        accept: Judges a file on the task.

    Returns:
        The first that is accepted; ``stored`` if none is: why, the export's own comparison says.
    """
    judged: set[Candidate] = set()
    for candidate in chain([stored], storages(bench)):  # each is written when its turn comes
        if bench.clock.is_past(1.0):
            break
        is_noisy = bench.sqnr_db(candidate) < bench.sqnr_db(stored)
        if candidate.path is None or is_noisy or candidate in judged:
            continue
        judged.add(candidate)
        if accept(candidate.path):
            return candidate
    return stored


def storages(bench: Workbench) -> Iterator[Candidate]:
    """Everything in float: all weights in 8 bits, then all but ever more of the small ones."""
    yield bench.make(prefer(bench.quantizer.units), "weights in 8 bits")
    for share in _SHARES:
        choices = spare_small_weights(bench.quantizer.units, share)
        yield bench.make(choices, f"weights in 8 bits but {share:.0%} of them")


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
