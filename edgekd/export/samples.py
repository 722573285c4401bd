"""Which samples an export looks at: some of train set int8 ranges, some of val judge the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.config import ExportRecipe
from edgekd.console import Console
from edgekd.data.calibration import calibration_indices
from edgekd.data.dataset import Dataset, Samples
from edgekd.data.open import open_dataset
from edgekd.data.roles import find_something
from edgekd.errors import UsageError
from edgekd.export.belonging import belonging, unlikely
from edgekd.export.parity import Logits, Reference
from edgekd.export.quantization.calibration import CalibrationSamples, input_encoding
from edgekd.records import OTHER_DATA, ImageInput, InputSpec, StudentBundle, Task
from edgekd.runtimes.encoding import TensorInfo, encode_input

_MADE_UP: Final = 16  # samples where no data is given: enough to see a wrong graph
_BATCH: Final = 64


@dataclass(frozen=True, kw_only=True)
class ExportSamples:
    """What to calibrate with (``None`` without int8) and what to compare on."""

    calibration: CalibrationSamples | None
    reference: Reference
    notes: tuple[str, ...] = ()
    """What a reader of a record must know about them."""


def gather_samples(
    record: StudentBundle, student: nn.Module, recipe: ExportRecipe, console: Console
) -> ExportSamples:
    """Decode the samples of an export and ask the student for its answers.

    Raises:
        UsageError: If int8 is asked for without data.
        DataError: If the data cannot be opened or is not what the student was trained for.
    """
    specs = record.preprocess.inputs
    if recipe.data is None:
        if recipe.needs_calibration:
            raise UsageError("--int8 sets its ranges from training samples; give --data as well")
        made_up = [_made_up(spec, recipe.seed) for spec in specs]
        logits = source_logits(student, made_up, specs)
        reference = Reference(
            samples=made_up, logits=logits, labels=None, split=None, task=record.task
        )
        return ExportSamples(calibration=None, reference=reference)
    dataset = open_dataset(recipe, console, task=record.task)
    notes = belonging(dataset, record, recipe)
    reference = _held_out(dataset, student, record, recipe, has_labels=not notes)
    notes = notes or unlikely(reference, record)
    for note in notes:
        console.warn(note)
    calibration = (
        _calibration(dataset, specs, recipe, console) if recipe.needs_calibration else None
    )
    return ExportSamples(
        calibration=calibration,
        reference=reference,
        notes=(*notes, *_doubts(dataset, record, console)),
    )


@torch.no_grad()
def source_logits(
    student: nn.Module, samples: Sequence[NDArray[Any]], specs: Sequence[InputSpec]
) -> Logits:
    """``(n, K)`` of the student as trained, in eval mode and float32.

    Args:
        student: In eval mode.
        samples: Decoded, one array per input.
        specs: One per input.
    """
    parts = []
    for start in range(0, len(samples[0]), _BATCH):
        tensors = [
            torch.from_numpy(_encode(values[start : start + _BATCH], spec))
            for values, spec in zip(samples, specs, strict=True)
        ]
        parts.append(student(*tensors).numpy())
    return np.concatenate(parts)


def _held_out(
    dataset: Dataset,
    student: nn.Module,
    record: StudentBundle,
    recipe: ExportRecipe,
    *,
    has_labels: bool,
) -> Reference:
    val, specs = dataset.splits["val"], record.preprocess.inputs
    rows = _PARITY_ROWS[record.task](val, recipe)
    samples = _load(val, rows, specs)
    return Reference(
        samples=samples,
        logits=source_logits(student, samples, specs),
        labels=val.labels[rows] if has_labels else None,
        split=val.name,
        cameras=None if val.cameras is None else val.cameras[rows],
        roles=None if val.roles is None else val.roles.at(rows),
        task=record.task,
    )


def _any_rows(val: Samples, recipe: ExportRecipe) -> NDArray[np.int64]:
    order = np.random.default_rng(recipe.seed).permutation(len(val))
    return np.sort(order[: recipe.num_parity])


def whole_identities(val: Samples, recipe: ExportRecipe) -> NDArray[np.int64]:
    """Rows of whole identities, so that a query still finds what it would find in all of val.

    Args:
        val: Of a data set for retrieval.
        recipe: At least its ``num_parity`` rows are taken, where there are as many.

    Returns:
        Rising positions; identities are drawn in seeded order, those of which nothing can be found
        last.
    """
    identities, counts = np.unique(val.labels, return_counts=True)
    shuffled = np.random.default_rng(recipe.seed).permutation(len(identities))
    asking = val.labels[find_something(val.labels, val.cameras, val.roles)]
    is_found = np.isin(identities, asking)
    order = shuffled[np.argsort(~is_found[shuffled], kind="stable")]
    enough = np.searchsorted(np.cumsum(counts[order]), recipe.num_parity) + 1
    return np.flatnonzero(np.isin(val.labels, identities[order[:enough]]))


_PARITY_ROWS: Final[Mapping[Task, Callable[[Samples, ExportRecipe], NDArray[np.int64]]]] = {
    "classification": _any_rows,
    "retrieval": whole_identities,
}


def _calibration(
    dataset: Dataset, specs: Sequence[InputSpec], recipe: ExportRecipe, console: Console
) -> CalibrationSamples:
    train = dataset.splits["train"]
    if len(train) < recipe.num_calibration:
        console.info(
            f"calibrating with all {len(train)} training samples "
            f"(up to {recipe.num_calibration} are taken)"
        )
    rows = calibration_indices(train.labels, num_samples=recipe.num_calibration, seed=recipe.seed)
    return CalibrationSamples(specs=specs, decoded=_load(train, rows, specs))


def _load(
    samples: Samples, rows: NDArray[np.int64], specs: Sequence[InputSpec]
) -> list[NDArray[Any]]:
    return [samples.load(rows, spec) for spec in specs]


def _doubts(dataset: Dataset, record: StudentBundle, console: Console) -> tuple[str, ...]:
    """Say where the samples are not those of the training, or lie in other splits than there."""
    made_from, data = record.provenance.data, dataset.ref()
    if made_from.fingerprint in ("", data.fingerprint):
        return ()
    console.warn(
        f"trained on {made_from.source}; --data {data.source} holds other samples or splits them "
        "otherwise, so calibration may see what was kept for validation and test, and the "
        "comparison what was trained on"
    )
    return (
        f"{OTHER_DATA}, or on another split of them "
        f"(fingerprint {data.fingerprint[:12]}, of the training {made_from.fingerprint[:12]})",
    )


def _made_up(spec: InputSpec, seed: int) -> NDArray[Any]:
    generator = np.random.default_rng(seed)
    if isinstance(spec, ImageInput):
        return made_up_images(_MADE_UP, spec, generator)
    windows = generator.standard_normal((_MADE_UP, spec.channels, spec.length), dtype=np.float32)
    std, mean = (np.array(v, np.float32)[:, None] for v in (spec.std, spec.mean))
    return np.asarray(windows * std + mean, dtype=np.float32)


def made_up_images(
    count: int, spec: ImageInput, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """``(n, H, W, C)``: patches of every size, one over the other, as photographs have them.

    White noise would not do: a batch norm that has only seen photographs blows up what it makes
    of filters for edges, until two right programs differ.
    """
    sides, cells = (spec.height, spec.width), 1
    images = np.zeros((count, *sides, spec.channels))
    while cells < 2 * max(sides):
        grid = [min(cells, side) for side in sides]
        patches = generator.standard_normal((count, *grid, spec.channels))
        rows, columns = (np.arange(s) * g // s for s, g in zip(sides, grid, strict=True))
        images += patches[:, rows[:, None], columns]
        cells *= 2
    return np.asarray(np.clip(128 + 55 * images / images.std(), 0, 255), np.uint8)


def _encode(values: NDArray[Any], spec: InputSpec) -> NDArray[Any]:
    """As the student takes it: normalised float32, channels first."""
    how = input_encoding(spec, "float32", channel_last=False)
    info = TensorInfo(name=spec.name, shape=(None,) * values.ndim, dtype="float32")
    return encode_input(values, info, how)
