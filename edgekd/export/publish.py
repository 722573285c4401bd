"""Files that passed go where the user wants them; files that did not are kept out of the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from edgekd.atomic import write_atomically
from edgekd.bundle import to_json
from edgekd.errors import ParityError
from edgekd.export.quantization.recipe import RECIPE_SUFFIX
from edgekd.export.recovered import RECOVERED_FILE
from edgekd.export.verify import Verdict
from edgekd.records import SCHEMA, ExportedModel, Record

_REPORT: Final = ".failed.json"
_REJECTED: Final = ".rejected"


class RejectedModel(Record):
    """A file that did not pass its gate, and why."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    file: str
    problems: tuple[str, ...] = Field(min_length=1)
    model: ExportedModel | None
    """What its record would have been; null where its answers are no numbers to compare."""


def publish(verdicts: Sequence[Verdict], output: Path) -> tuple[ExportedModel, ...]:
    """Write every file with its record beside it, once all of them have passed.

    The weights of recovered files lie beside them, for their recipes to be replayed.

    Where one did not pass, nothing in ``output`` is replaced: each refused file is kept under
    ``FILE.rejected``, which no runtime opens, with a report in ``FILE.failed.json``.

    Raises:
        ParityError: If any file did not pass.
        OutputError: If the folder cannot be written.
    """
    refused = [verdict for verdict in verdicts if verdict.problems]
    for verdict in refused:
        _keep_aside(verdict, output)
    if refused:
        raise ParityError(_complaint(refused, output))
    for recovered in {v.candidate.recovered for v in verdicts if v.candidate.recovered}:
        write_atomically(output / RECOVERED_FILE, recovered.weights.read_bytes())
    models = tuple(verdict.model for verdict in verdicts if verdict.model is not None)
    for verdict, model in zip(verdicts, models, strict=True):  # who has none was refused
        target = output / verdict.file
        write_atomically(target, verdict.candidate.path.read_bytes())
        write_atomically(_beside(target, ".json"), to_json(model))
        if verdict.candidate.int8_recipe is not None:
            recipe = to_json(verdict.candidate.int8_recipe)
            write_atomically(_beside(target, RECIPE_SUFFIX), recipe)
        for suffix in (_REPORT, _REJECTED):  # of an earlier try
            _beside(target, suffix).unlink(missing_ok=True)
    return models


def _keep_aside(verdict: Verdict, output: Path) -> None:
    target = output / verdict.file
    report = RejectedModel(file=verdict.file, problems=verdict.problems, model=verdict.model)
    write_atomically(_beside(target, _REJECTED), verdict.candidate.path.read_bytes())
    write_atomically(_beside(target, _REPORT), to_json(report))


def _complaint(refused: Sequence[Verdict], output: Path) -> str:
    reasons = "; ".join(f"{v.file}: {', '.join(v.problems)}" for v in refused)
    report = _beside(output / refused[0].file, _REPORT)
    return (
        f"{reasons}. Nothing was exported; figures are in {report}. "
        "For int8 try more --num-calibration, or --recover EPOCHS, or state the loss you accept "
        "(edgekd export --help)"
    )


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)
