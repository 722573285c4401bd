"""Decoded samples on disk for the runner, and the metric of the answers that come back."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.bench.select import Candidate
from edgekd.config import BenchRecipe
from edgekd.console import Console
from edgekd.data.dataset import Samples
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import absent_samples
from edgekd.errors import BundleError, DataError, OutputError, UsageError
from edgekd.evaluate.metrics import metrics_of
from edgekd.records import DataRef, InputSpec, Metric, Preprocess, Task

_CHUNK: Final = 256  # samples decoded at once, so that large images need not fit into memory


class EvaluationSamples:
    """One split of a data set, decoded once per preprocessing into ``.npy`` files.

    Args:
        recipe: Names the data and the split.
        folder: Where the arrays go; its owner removes it.
        console: Told about the data and the progress of decoding.
        task: Of the models that are measured.

    Raises:
        DataError: If the data cannot be opened.
        UsageError: If a part of a split is asked for and the task needs all of it.
    """

    def __init__(
        self,
        recipe: BenchRecipe,
        folder: Path,
        console: Console,
        *,
        task: Task = "classification",
    ) -> None:
        self._task = task
        self._dataset = open_dataset(recipe, console, task=task)
        self._split: Samples = self._dataset.splits[recipe.metric_split]
        self._rows = _rows(len(self._split), recipe.num_samples, task)
        self._missing = recipe.missing
        self._folder = folder
        self._console = console
        self._files: dict[Preprocess, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def data(self) -> DataRef:
        """The whole data set."""
        return self._dataset.ref()

    def check_labels(self, candidate: Candidate) -> None:
        """Make sure that class ``k`` of the model is class ``k`` of the data.

        For retrieval, that the model's identities are those of the data's training split: in
        another split it would be asked for identities that it was trained on.

        Raises:
            DataError: If the names or their order differ; the first difference is named.
        """
        mine, data = candidate.labels, self._dataset.train_class_names
        if mine == data:
            return
        if len(mine) != len(data):
            found = f"{len(data)} classes, the model has {len(mine)}"
        else:
            first = next(k for k in range(len(mine)) if mine[k] != data[k])
            found = f"class {first} is {data[first]!r}, the model's is {mine[first]!r}"
        raise DataError(
            f"{self._dataset.source}: other classes than {candidate.file} was trained on "
            f"({found}); give --data the data set of its training"
        )

    def check_missing(self, candidate: Candidate) -> None:
        """Make sure that what is to be missing are inputs of the model, and not all of them.

        Raises:
            UsageError: If not.
        """
        inputs = () if candidate.preprocess is None else candidate.preprocess.inputs
        names = [spec.name for spec in inputs]
        unknown = [name for name in self._missing if name not in names]
        if unknown:
            raise UsageError(
                f"--missing {unknown[0]}: {candidate.file} takes {', '.join(names)}; "
                "name one of these"
            )
        if len(self._missing) == len(names):
            raise UsageError(
                f"--missing: nothing is left of what {candidate.file} takes ({', '.join(names)}); "
                "leave one there"
            )

    def files(self, preprocess: Preprocess) -> tuple[str, ...]:
        """One ``.npy`` of decoded samples per input; of its mean where the input is missing.

        Raises:
            DataError: If a sample cannot be decoded.
            OutputError: If the temporary folder is full.
        """
        if preprocess not in self._files:
            self._files[preprocess] = tuple(self._decode(spec) for spec in preprocess.inputs)
        return self._files[preprocess]

    def metric(self, candidate: Candidate, logits: NDArray[np.float32]) -> Metric:
        """The metric that stands for the task, of answers in the order of :meth:`files`.

        Args:
            candidate: Which model answered.
            logits: ``(N, K)``, or embeddings ``(N, D)``.

        Raises:
            BundleError: If the model answers with NaN, with infinity where embeddings are
                compared, or with another number of classes.
        """
        size = len(candidate.labels) if self._task == "classification" else logits.shape[-1]
        expected = (len(self), size)
        if logits.shape != expected:
            raise BundleError(
                f"{candidate.path}: answers {logits.shape}, expected {expected}; export it again"
            )
        is_wrong = np.isnan(logits) if self._task == "classification" else ~np.isfinite(logits)
        if is_wrong.any():
            found = "NaN" if np.isnan(logits).any() else "infinity"
            raise BundleError(
                f"{candidate.path}: answers {found} on {self._split.name} samples; export it again"
            )
        split = self._split
        cameras = None if split.cameras is None else split.cameras[self._rows]
        roles = None if split.roles is None else split.roles.at(self._rows)
        labels = split.labels[self._rows]
        return metrics_of(self._task, logits, labels, cameras, roles, split=split.name)[0]

    def _decode(self, spec: InputSpec) -> str:
        path = self._folder / f"samples-{len(list(self._folder.iterdir()))}.npy"
        total = len(self)
        try:
            with (
                path.open("wb") as file,
                self._console.track(f"decoding {self._split.name}", total) as tracker,
            ):
                for start in range(0, total, _CHUNK):
                    rows = self._rows[start : start + _CHUNK]
                    values = self._load(rows, spec)
                    if start == 0:
                        _write_header(file, values, total)
                    # A plain write fails cleanly on a full disk; a memory map would crash.
                    file.write(np.ascontiguousarray(values).data)
                    tracker.advance(len(rows))
        except OSError as error:
            raise OutputError(
                f"{path.parent}: decoded samples cannot be written ({error.strerror}); "
                "free space or set TMPDIR to a larger disk"
            ) from error
        return str(path)

    def _load(self, rows: NDArray[np.int64], spec: InputSpec) -> NDArray[Any]:
        if spec.name in self._missing:
            return absent_samples(spec, len(rows))
        return self._split.load(rows, spec)


def _rows(total: int, wanted: int | None, task: Task) -> NDArray[np.int64]:
    """All rows, or so many of them; more of them hold the same ones and others."""
    if wanted is None or wanted >= total:
        return np.arange(total, dtype=np.int64)
    if task == "retrieval":
        raise UsageError(
            "--samples: in a part of a gallery everything is found more easily; "
            "retrieval is measured on the whole split"
        )
    return np.sort(np.random.default_rng(0).permutation(total)[:wanted]).astype(np.int64)


def _write_header(file: Any, values: NDArray[Any], total: int) -> None:
    np.lib.format.write_array_header_2_0(
        file,
        {
            "descr": np.lib.format.dtype_to_descr(values.dtype),
            "fortran_order": False,
            "shape": (total, *values.shape[1:]),
        },
    )
