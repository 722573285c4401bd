"""Files that passed go where the user wants them; files that did not are kept out of the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import Field

from edgekd.atomic import write_atomically
from edgekd.bundle import read_record, to_json
from edgekd.errors import BundleError, OutputError, ParityError
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


def publish(
    verdicts: Sequence[Verdict], output: Path, source_sha256: str
) -> tuple[ExportedModel, ...]:
    """Write every file with its record beside it, once all of them have passed.

    The weights of recovered files lie beside them, for their recipes to be replayed. Files that
    were made from other weights than ``source_sha256`` are deleted.

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
    for other in files_of_others(output, source_sha256):
        for suffix in ("", ".json", RECIPE_SUFFIX):
            _beside(other, suffix).unlink(missing_ok=True)
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


def files_of_others(output: Path, source_sha256: str) -> list[Path]:
    """Exported files in a folder that were made from other weights, in order of their names.

    Args:
        output: A folder; nothing is in one that is missing.
        source_sha256: Of the weights that are exported now.
    """
    found = []
    for record in sorted(output.glob("student*.json")):
        if record.name.endswith((RECIPE_SUFFIX, _REPORT)):
            continue
        try:
            model = read_record(ExportedModel, record)
        except BundleError:  # damaged, or somebody else's: not ours to judge
            continue
        if model.source_sha256 != source_sha256:
            found.append(record.with_name(record.name.removesuffix(".json")))
    return found


def require_own_folder(output: Path, source_sha256: str) -> None:
    """Refuse a folder in which files of two students would lie side by side.

    Raises:
        OutputError: If files of another student are there.
    """
    others = files_of_others(output, source_sha256)
    if others:
        raise OutputError(
            f"{output}: holds files of another student ({', '.join(p.name for p in others)}); "
            "choose another folder with -o, or add --overwrite to replace them"
        )


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
