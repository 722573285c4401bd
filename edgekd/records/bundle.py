"""A trained network: how to rebuild it, how good it is, where it came from."""

from typing import Annotated, Any

from pydantic import Field

from edgekd.records.base import SCHEMA, Record, SplitName, Task
from edgekd.records.inputs import Preprocess


class ArchSpec(Record):
    """Enough to rebuild a module without pickle: family, arguments, and pruned widths if any."""

    family: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    num_classes: int = Field(ge=1, le=1_000_000)
    """``K``; for an embedding network the identities it is trained with, of which the network
    itself holds nothing."""
    in_channels: int = Field(ge=1, le=4096)
    embedding_dim: int | None = Field(default=None, ge=1, le=65_536)
    """``D`` of a network that answers embeddings ``(B, D)``; ``None`` for a classifier."""
    widths: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] | None = None
    """Inner channels per residual block after pruning; ``None`` for the family's own widths."""
    merged: bool = False
    """Whether the convolutions that ``widths`` speaks of hold their BatchNorms, as biases."""

    @property
    def output_name(self) -> str:
        """What the network answers: ``logits`` or ``embedding``."""
        return "logits" if self.embedding_dim is None else "embedding"

    @property
    def output_size(self) -> int:
        """Numbers per sample in the answer: ``K`` or ``D``."""
        return self.num_classes if self.embedding_dim is None else self.embedding_dim


class Metric(Record):
    """A number that never travels without its split and sample count; fractions stay fractions."""

    name: str
    value: float
    split: SplitName
    num_samples: int = Field(ge=1)


class TeacherRef(Record):
    """Which teacher taught: where it came from and the sha256 of its weights file."""

    source: str
    kind: str
    sha256: str | None
    num_params: int | None = None
    macs: int | None = None


class DataRef(Record):
    """Which data: the source as given and a fingerprint of contents, labels and splits."""

    source: str
    fingerprint: str
    num_samples: dict[str, int]
    skipped_files: int = 0


class Provenance(Record):
    """What is needed to repeat the run that made a bundle."""

    data: DataRef
    teacher: TeacherRef | None
    recipe: dict[str, Any]
    seed: int
    versions: dict[str, str]
    commit: str | None
    machine: str
    num_threads: int
    """Of the process that ended the run."""
    earlier_num_threads: tuple[int, ...] = ()
    """Of the processes before it, in their order, where a run was resumed with another number:
    sums of floats are split by thread, so an undisturbed run differs in their last bits."""
    precision: str
    train_seconds: float
    created: str


class StudentBundle(Record):
    """A trained network as a record; its weights lie beside it in ``weights.safetensors``."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    task: Task = "classification"
    arch: ArchSpec
    preprocess: Preprocess
    labels: tuple[str, ...]
    """Classes in the order of the logits; for retrieval the identities of the training split."""
    weights_sha256: str
    training_head_sha256: str | None = None
    """Of ``training_head.safetensors``, the classifier that only teaching needs; retrieval only."""
    num_params: int
    macs: int
    uncounted_operators: tuple[str, ...] = ()
    metrics: tuple[Metric, ...]
    notes: tuple[str, ...] = ()
    """What training found that whoever uses the network must know, a sentence each."""
    provenance: Provenance
