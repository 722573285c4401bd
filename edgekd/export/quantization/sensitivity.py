"""Which layers an int8 file loses most by: each alone in int8, all others in float."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from edgekd.errors import BundleError, ParityError
from edgekd.export.quantization.candidates import Candidate, Workbench
from edgekd.export.quantization.moves import cut
from edgekd.export.quantization.recipe import Choice, OperatorError
from edgekd.export.quantization.units import Choices, Unit
from edgekd.records import LayerError

MetricDrop = Callable[[Path], float]
"""A file to what it loses of the task's metric on held-out samples, as a fraction."""

_STRETCHES: Final = 8  # that are listened to first, where nobody has yet
_ALONE: Final = 24  # layers that are then measured one by one: a file is written for each
_JUDGED: Final = 8  # worst layers whose files answer every held-out sample
_SECONDS: Final = 15.0  # after which no further file does


class LayerErrors(NamedTuple):
    """What single layers cost.

    Attributes:
        measured: Worst first.
        unmeasured: How many other layers compute in int8.
    """

    measured: tuple[LayerError, ...]
    unmeasured: int


def layer_errors(
    bench: Workbench,
    choices: Choices,
    heard: Sequence[OperatorError],
    metric_drop: MetricDrop | None = None,
) -> LayerErrors:
    """The layers of the loudest stretches, each measured alone, as far as there is time.

    Args:
        bench: Of the network.
        choices: Of the int8 file; what computes in float is not measured.
        heard: What stretches of the network do, worst first; measured here where there is none.
        metric_drop: Judges the files of the worst layers; ``None`` where there are no labels.
    """
    units = [unit for unit in bench.quantizer.units if choices[unit.name] in ("static", "dynamic")]
    named = {unit.name: unit for unit in units}
    stretches = [tuple(name for name in error.operators if name in named) for error in heard]
    if len(units) > _ALONE and not any(stretches) and not bench.clock.is_past(1.0):
        pieces = cut(units, _STRETCHES)
        names = [tuple(unit.name for unit in piece) for piece in pieces]
        stretches = sorted(names, key=lambda alone: bench.sqnr_db(_alone(bench, choices, alone)))
    loudest = dict.fromkeys((*(name for names in stretches for name in names), *named))
    written: list[LayerError] = []
    for name in list(loudest)[:_ALONE]:
        if written and bench.clock.is_past(1.0):
            break
        error = _error(bench, choices, named[name])
        written += [error] if error is not None else []
    worst_first = sorted(written, key=lambda error: error.sqnr_db)
    judged = _judged(bench, choices, worst_first, metric_drop)
    return LayerErrors(judged, len(units) - len(judged))


def _judged(
    bench: Workbench,
    choices: Choices,
    worst_first: Sequence[LayerError],
    metric_drop: MetricDrop | None,
) -> tuple[LayerError, ...]:
    """With what each layer costs of the metric, as far as there are labels and time."""
    end = time.monotonic() + _SECONDS
    found = []
    for place, error in enumerate(worst_first):
        if metric_drop is None:
            lost = _unknown("there are no labels to judge by")
        elif place >= _JUDGED:
            lost = _unknown(f"only the {_JUDGED} worst layers are judged")
        elif bench.clock.is_past(1.0) or (place and time.monotonic() > end):
            lost = _unknown("the time for it was up")
        else:
            lost = _lost(_alone(bench, choices, (error.layer,)), metric_drop)
        found.append(error.model_copy(update=lost))
    return tuple(found)


def _lost(candidate: Candidate, metric_drop: MetricDrop) -> dict[str, Any]:
    """Fields of a layer's error."""
    if candidate.path is None:
        raise ValueError("a layer was measured of which there is no file")
    try:
        return {"metric_drop": metric_drop(candidate.path)}
    except (BundleError, ParityError) as error:
        return _unknown(str(error))


def _unknown(reason: str) -> dict[str, Any]:
    return {"metric_unknown": reason}


def _error(bench: Workbench, choices: Choices, unit: Unit) -> LayerError | None:
    """``None`` where a tool chain cannot write the layer alone."""
    candidate = _alone(bench, choices, (unit.name,))
    if candidate.path is None:
        return None
    return LayerError(
        layer=unit.name,
        kind=unit.kind,
        computes="dynamic" if choices[unit.name] == "dynamic" else "static",
        sqnr_db=bench.sqnr_db(candidate),
    )


def _alone(bench: Workbench, choices: Choices, names: Sequence[str]) -> Candidate:
    """These computed as chosen and all others in float, weights and all."""
    alone: dict[str, Choice] = {unit.name: "float" for unit in bench.quantizer.units}
    alone |= {name: choices[name] for name in names}
    return bench.make(alone, f"only {names[0]} to {names[-1]}")
