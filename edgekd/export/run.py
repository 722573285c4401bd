"""``export``: one student, from its bundle to files for runtimes, each proven to answer like it.

Read from top to bottom: the student is loaded and made ready, every format is converted and
quantized from the same network with the same samples, every file is audited and compared, and
only when all have passed does any of them reach the output folder.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from edgekd.atomic import reporting_write_errors
from edgekd.config import ExportRecipe
from edgekd.console import Console, SilentConsole
from edgekd.data.as_trained import require_windows, split_as_trained
from edgekd.export.adjustments.adjuster import Adjuster, proposing_rows
from edgekd.export.device import open_measuring_device
from edgekd.export.formats import Source
from edgekd.export.int8_checks import findings, not_checked
from edgekd.export.int8_replay import formats_of_recipes, given_recipe
from edgekd.export.learned_points import learned_points
from edgekd.export.make import make_files
from edgekd.export.network import load_plain_network
from edgekd.export.prepare import prepare_for_export
from edgekd.export.publish import publish, require_own_folder
from edgekd.export.recovered import recorded_recovery
from edgekd.export.recovery import make_recovered_again, recover_int8, require_trainable
from edgekd.export.recovery_training import Recover
from edgekd.export.samples import ExportSamples, gather_samples
from edgekd.export.sources import bundle_of
from edgekd.export.tflite_file import require_litert
from edgekd.records import ExportedModel


def export(
    bundle_folder: Path,
    output: Path,
    recipe: ExportRecipe,
    console: Console | None = None,
    *,
    recover: Recover | None = None,
    overwrite: bool = False,
) -> tuple[ExportedModel, ...]:
    """Write the student of a bundle as verified files, with a record beside each.

    Args:
        bundle_folder: What ``teach`` or ``distill`` wrote, ``timm:NAME@weights.safetensors``, or
            ``model.pt2``.
        output: Created if missing; gets ``student.onnx``, ``student.int8.onnx``,
            ``student.tflite``, ``student.int8.tflite`` as the recipe asks, ``FILE.json``, and
            beside an int8 file ``FILE.recipe.json``; also ``student.recovered.safetensors``
            where int8 files were made from weights that a recovery trained.
        recipe: Formats, int8 and the limits of the gate. Where it does not say how its data are
            split, they are as the student's training split them.
        console: Hears about progress.
        recover: Trains, where the recipe asks for it and an int8 file loses too much.
        overwrite: Whether files of another student in ``output`` are replaced.

    Returns:
        One record per file, in the order of the formats, fp32 before int8.

    Raises:
        UsageError: If int8 is asked for without data, or recovery of what cannot be trained.
        BundleError: If the bundle is damaged.
        DataError: If the data cannot be opened or is not what the student was trained for.
        DeviceError: If the recipe's device is unknown, emulated, unreachable or lost on the way.
        MissingExtraError: If a converter is not installed.
        ExportError: If a converter fails, or produces something else than was asked for.
        ConfigError: If a recipe to be replayed is damaged, is of another format or another kind of
            int8 than asked for, or makes another file.
        ParityError: If a file does not answer like the student; nothing is exported then.
        OutputError: If ``output`` cannot be written, or holds files of another student.
    """
    console = console or SilentConsole()
    recipe = formats_of_recipes(recipe)
    if "tflite" in recipe.formats:
        require_litert()
    if recipe.recovery.epochs:
        require_trainable(bundle_folder)
    for name in recipe.formats:  # before time is spent: what it says of the recipes may be wrong
        given_recipe(recipe, name)
    with _scratch_folder(output) as work, open_measuring_device(recipe, console) as device:
        bundle_folder = bundle_of(bundle_folder, recipe, work, console)
        record, student = load_plain_network(bundle_folder)
        if not overwrite:
            require_own_folder(output, record.weights_sha256)
        require_windows(recipe, record.preprocess.inputs)
        recipe = split_as_trained(recipe, [record.provenance.recipe], console)
        samples = gather_samples(record, student, recipe, console)
        network = prepare_for_export(student, record.preprocess.inputs)
        source = Source(
            bundle_folder=bundle_folder,
            record=record,
            network=network,
            recipe=recipe,
            work=work,
            device=device,
            learned=learned_points(student, record.learned_ranges, samples.calibration),
            adjuster=_adjuster(network, samples, recipe),
        )
        recovered = recorded_recovery(recipe)
        if recovered is not None:
            verdicts = make_recovered_again(source, samples, recovered, console)
        else:
            verdicts = make_files(source, samples, console)
            if recipe.recovery.epochs:
                verdicts = recover_int8(verdicts, source, samples, student, recover, console)
        models = publish(verdicts, output, record.weights_sha256)
    for model in models:
        _tell(model, samples, console)
    return models


def _tell(model: ExportedModel, samples: ExportSamples, console: Console) -> None:
    """What there is to know of a file besides its figures."""
    for note in model.notes:
        if note not in samples.notes:  # said already
            console.info(f"{model.file}: {note}")
    skipped = not_checked(model)
    if skipped is not None:
        console.info(f"{model.file}: {skipped}")
    for text in findings(model):
        console.warn(f"{model.file}: {text}")


def _adjuster(network: nn.Module, samples: ExportSamples, recipe: ExportRecipe) -> Adjuster | None:
    """What proposes changes of the network, where it may and has samples to make them from."""
    calibration = samples.calibration
    if calibration is None or not recipe.adjustments:
        return None
    rows = proposing_rows(len(calibration.decoded[0]))
    few = replace(calibration, decoded=[values[rows] for values in calibration.decoded])
    feeds = few.feeds("float32", channel_last=False)  # as the network takes them
    return Adjuster(network, list(feeds.values()))


def rows(models: Sequence[ExportedModel]) -> list[dict[str, Any]]:
    """What ``export --json`` prints: one object per file."""
    return [
        {
            "file": model.file,
            "format": model.format,
            "precision": model.precision,
            "size_bytes": model.size_bytes,
            "int8_macs_share": model.int8_macs_share,
            "int8_weight_bytes_share": model.int8_weight_bytes_share,
            "recovery": model.recovery and model.recovery.model_dump(mode="json"),
            "parity": model.parity.model_dump(mode="json"),
            "audit": model.audit.model_dump(mode="json"),
            "num_operators": model.audit.num_operators,
            "int8_checks": checks and checks.model_dump(mode="json"),
            "adjustments": [tried.model_dump(mode="json") for tried in model.adjustments],
            "layer_errors": [layer.model_dump(mode="json") for layer in model.layer_errors],
            "unmeasured_layers": model.unmeasured_layers,
            "num_params": model.num_params,
            "macs": model.macs,
            "sha256": model.sha256,
            "measured_on": None
            if model.measured_on is None
            else model.measured_on.model_dump(mode="json"),
            "notes": list(model.notes),
        }
        for model, checks in ((model, model.int8_checks) for model in models)
    ]


@contextmanager
def _scratch_folder(output: Path) -> Iterator[Path]:
    """A folder for half-made files, outside ``output``, which is checked before work is spent.

    What an export that failed made of ``output`` is gone again where it is empty.
    """
    with reporting_write_errors(output):
        made = [folder for folder in (output, *output.parents) if not folder.exists()]
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".edgekd-", dir=output):
            pass  # writable
    try:
        with tempfile.TemporaryDirectory(prefix="edgekd-export-") as folder:
            yield Path(folder)
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: Sequence[Path]) -> None:
    """Innermost first, up to the first that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
