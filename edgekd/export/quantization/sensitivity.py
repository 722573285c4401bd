"""Which layers an int8 file loses most by: each alone in int8, all others in float."""

from collections.abc import Sequence
from typing import Final

from edgekd.export.quantization.candidates import Candidate, Workbench
from edgekd.export.quantization.moves import cut
from edgekd.export.quantization.recipe import Choice, OperatorError
from edgekd.export.quantization.units import Choices, Unit
from edgekd.records import LayerError

_STRETCHES: Final = 8  # that are listened to first, where nobody has yet
_ALONE: Final = 24  # layers that are then measured one by one: a file is written for each


def layer_errors(
    bench: Workbench, choices: Choices, heard: Sequence[OperatorError]
) -> tuple[LayerError, ...]:
    """The layers of the loudest stretches, each measured alone; worst first.

    Args:
        bench: Of the network.
        choices: Of the int8 file; what computes in float is not measured.
        heard: What stretches of the network do, worst first; measured here where there is none.
    """
    units = [unit for unit in bench.quantizer.units if choices[unit.name] in ("static", "dynamic")]
    named = {unit.name: unit for unit in units}
    stretches = [tuple(name for name in error.operators if name in named) for error in heard]
    if len(units) > _ALONE and not any(stretches):
        pieces = cut(units, _STRETCHES)
        names = [tuple(unit.name for unit in piece) for piece in pieces]
        stretches = sorted(names, key=lambda alone: bench.sqnr_db(_alone(bench, choices, alone)))
    loudest = dict.fromkeys((*(name for names in stretches for name in names), *named))
    found = [_error(bench, choices, named[name]) for name in list(loudest)[:_ALONE]]
    written = [error for error in found if error is not None]
    return tuple(sorted(written, key=lambda error: error.sqnr_db))


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
