"""A data set as every stage sees it: three splits whose samples are decoded when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekd.data.roles import Roles
from edgekd.records import DataRef, InputSpec, SplitName

DataKind = Literal["image", "signal", "mixed"]
"""``mixed`` holds an image and signals per sample."""
Indices = NDArray[np.int64]


class Reader(Protocol):
    """Decodes rows of a data set, wherever they are stored."""

    def load(self, rows: Indices, spec: InputSpec) -> NDArray[Any]:
        """Decode ``rows`` to what :meth:`Samples.load` promises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """One split. Its order depends on contents and labels only, never on file names.

    Attributes:
        name: Which split.
        labels: ``(N,)``, index into :attr:`Dataset.class_names`.
        names: One per sample, for messages: a file name, or ``file.npz[row]``.
        sizes: ``(N, 2)``, height and width in pixels as stored (after rotation by EXIF);
            ``None`` for signals.
        identities: ``(N,)``, codes of a manifest's ``identity`` column where it has one.
        cameras: ``(N,)``, codes of a manifest's ``camera`` column where it has one.
        roles: Who asks and who is searched through, where a manifest has the column ``role``.
    """

    name: SplitName
    labels: Indices
    names: tuple[str, ...]
    sizes: Indices | None
    identities: Indices | None
    cameras: Indices | None
    reader: Reader = field(repr=False)
    rows: Indices = field(repr=False)
    roles: Roles | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def load(self, indices: Indices | None, spec: InputSpec) -> NDArray[Any]:
        """Decode samples and fit them to ``spec``.

        Args:
            indices: ``(n,)`` positions in this split; ``None`` for all.
            spec: For signals, ``spec.name`` picks the modality.

        Returns:
            uint8 ``(n, H, W, C)`` for an image, float32 ``(n, C, T)`` for a signal: decoded and
            fitted, not yet normalised.

        Raises:
            DataError: If a file cannot be read any more, or the data set is of another kind,
                modality or window length than ``spec``.
        """
        rows = self.rows if indices is None else self.rows[indices]
        return self.reader.load(rows, spec)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """An opened data set: all three splits exist and hold at least one sample each.

    Attributes:
        source: As the user gave it.
        kind: What the samples are.
        class_names: Folder names and labels in text order, integer labels in numeric order; the
            classes of the training split come first. For classification that is all of them; for
            retrieval they are identities, and ``val`` and ``test`` may hold others.
        splits: Always ``train``, ``val`` and ``test``.
        modalities: Name to ``(C, T)`` for every signal in use; empty where there are images alone.
        fingerprint: Hex sha256 over content, label, split and (where there are any) role of every
            sample; the same for a folder and a zip of it, and unchanged when files are renamed.
        skipped_files: Files that could not be read.
    """

    source: str
    kind: DataKind
    class_names: tuple[str, ...]
    splits: Mapping[SplitName, Samples]
    modalities: Mapping[str, tuple[int, int]]
    fingerprint: str
    skipped_files: tuple[str, ...]

    @property
    def train_class_names(self) -> tuple[str, ...]:
        """The classes a network is trained for, in the order of its logits."""
        return self.class_names[: int(self.splits["train"].labels.max()) + 1]

    def ref(self) -> DataRef:
        """The record of this data set that travels with what is made from it."""
        return DataRef(
            source=self.source,
            fingerprint=self.fingerprint,
            num_samples={name: len(samples) for name, samples in self.splits.items()},
            skipped_files=len(self.skipped_files),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What an opener found, row by row, before it is split and checked.

    Attributes:
        names: One per row, for messages.
        labels: ``(N,)``, index into ``class_names``.
        digests: sha256 of each row's content.
        given_splits: Split of each row, where the data brings one.
        groups: ``(N,)`` text, rows that must stay in one split, where the recipe asks for it.
        identities: ``(N,)``, index into ``identity_names``, where a manifest has the column.
        modalities: As in :class:`Dataset`.
        skipped: Files that could not be read.
    """

    kind: DataKind
    reader: Reader
    names: tuple[str, ...]
    labels: Indices
    class_names: tuple[str, ...]
    digests: tuple[bytes, ...]
    given_splits: tuple[SplitName, ...] | None = None
    groups: tuple[str, ...] | None = None
    sizes: Indices | None = None
    identities: Indices | None = None
    identity_names: tuple[str, ...] = ()
    cameras: Indices | None = None
    roles: Roles | None = None
    modalities: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
