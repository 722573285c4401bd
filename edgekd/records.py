"""The records that flow between stages: frozen, typed, without I/O and without torch.

Letters used in shapes everywhere: B batch, C channels, H height, W width, T time steps,
K classes, D features. Fractions stay fractions; the unit of a field is its suffix.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA: Final = 1
"""Version of every JSON file edgekd writes; a reader refuses any other."""

BUSY_CORES: Final = 0.2
"""Other work than this, in cores, and a latency is not the device's own."""

Task = Literal["classification", "retrieval"]
Format = Literal["onnx", "tflite", "torch"]
Precision = Literal["fp32", "fp16", "int8-static", "int8-mixed", "int8-weights", "int8-dynamic"]
SplitName = Literal["train", "val", "test"]


class Record(BaseModel):
    """Base of all records: immutable, no unknown fields, no NaN, no silent type conversion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ImageInput(Record):
    """How one image becomes an input tensor: decode, fit to size, scale to [0, 1], normalise.

    ``x = (pixel / 255 - mean) / std`` per channel; ``fit`` says how other shapes become
    ``height x width``: ``crop`` resizes the short side and crops the centre, ``squash``
    ignores the aspect ratio, ``pad`` resizes the long side and pads with black.
    """

    kind: Literal["image"] = "image"
    name: str = "image"
    channels: Literal[1, 3]
    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    fit: Literal["crop", "squash", "pad"] = "crop"
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values each")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, H, W)``: what the network takes, without the batch axis."""
        return self.channels, self.height, self.width


class SignalInput(Record):
    """How one sensor window ``(C, T)`` becomes an input tensor: ``x = (value - mean) / std``.

    Where ``clip`` is given, ``x`` is then limited to ``[-clip, clip]``: a rare extreme must not
    cost int8 the resolution of everything else.
    """

    kind: Literal["signal"] = "signal"
    name: str
    channels: int = Field(ge=1)
    length: int = Field(ge=1)
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    clip: float | None = Field(default=None, gt=0)
    """In standard deviations."""

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values each")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, T)``: what the network takes, without the batch axis."""
        return self.channels, self.length


InputSpec = Annotated[ImageInput | SignalInput, Field(discriminator="kind")]


class Preprocess(Record):
    """One entry per model input: the same object in training, calibration and on the device."""

    inputs: tuple[InputSpec, ...] = Field(min_length=1)

    @property
    def image(self) -> ImageInput:
        """The single image input.

        Raises:
            ValueError: If the model takes anything but exactly one image.
        """
        if len(self.inputs) != 1 or not isinstance(self.inputs[0], ImageInput):
            raise ValueError(f"expected one image input, found {[i.name for i in self.inputs]}")
        return self.inputs[0]


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
    provenance: Provenance


class TensorSpec(Record):
    """One input or output of a file: ``real = scale * (q - zero_point)`` where quantized."""

    name: str
    shape: tuple[int | str, ...]
    """A string is a dynamic axis, for example ``"batch"``."""
    dtype: str
    layout: str
    scale: float | None = None
    zero_point: int | None = None


class Parity(Record):
    """How far an exported file's outputs are from its source's on the same samples.

    ``metric_drop`` is source minus file, as a fraction: 0.005 is half a point lost.
    ``sqnr_db`` is ``10 log10(sum source^2 / sum (source - file)^2)``, null when they are equal.
    """

    num_samples: int = Field(ge=1)
    batch_sizes: tuple[int, ...]
    split: SplitName | None
    max_abs_err: float = Field(ge=0)
    tolerance: float | None
    sqnr_db: float | None
    top1_agreement: float = Field(ge=0, le=1)
    metric_drop: float | None


class OperatorAudit(Record):
    """What a file really computes in: counts per operator type and the share of MACs in int8."""

    int8_macs_share: float = Field(ge=0, le=1)
    int8_operators: dict[str, int]
    float_operators: dict[str, int]
    num_transposes: int = Field(ge=0)
    uncounted_operators: tuple[str, ...] = ()


class ExportedModel(Record):
    """A file for a runtime, with the proof that it answers like its source."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    file: str
    format: Format
    precision: Precision
    task: Task = "classification"
    sha256: str
    size_bytes: int
    num_params: int
    macs: int
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    input_encoding: Literal["float32", "uint8"]
    """``uint8``: normalisation is inside the graph and the file takes raw pixels."""
    int8_macs_share: float = Field(ge=0, le=1)
    int8_weight_bytes_share: float = Field(default=0.0, ge=0, le=1)
    """Of all bytes of weights and biases, those that hold 8-bit weights."""
    audit: OperatorAudit
    parity: Parity
    preprocess: Preprocess
    labels: tuple[str, ...]
    source_sha256: str
    """sha256 of the weights the file was made from; links a file to its bundle."""
    metrics: tuple[Metric, ...]
    versions: dict[str, str]
    provenance: Provenance | None
    notes: tuple[str, ...] = ()


class DeviceInfo(Record):
    """Where a measurement was taken; what could not be read is ``None``, never guessed."""

    name: str
    board: str | None
    cpu: str | None
    arch: str
    os: str | None
    kernel: str | None
    python: str
    cpu_count: int | None
    memory_bytes: int | None
    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    load_average: float | None
    emulated: bool = False
    """Whether another processor plays this one: then times mean nothing and are not shown."""
    runtime_versions: dict[str, str] = Field(default_factory=dict)
    unknown: dict[str, str] = Field(default_factory=dict)
    """Field that is ``None`` -> where it was looked for in vain."""


class MachineState(Record):
    """What changes on a device from one moment to the next; unknown is ``None``."""

    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    load_average: float | None


class Energy(Record):
    """Energy of one inference, over many of them in a row, idle consumption included."""

    source: str
    """Where it was read, and of what: a processor's package, a board's rails, a whole board."""
    joules_per_inference: float = Field(ge=0)
    idle_watts: float = Field(ge=0)
    """Of the same source, while the process slept just before."""
    num_inferences: int = Field(ge=1)


class SustainedPoint(Record):
    """One stretch of a sustained run."""

    at_seconds: float
    """Its end, since the run's first call."""
    num_calls: int
    p50_ns: int
    temperature_c: float | None
    frequency_mhz: float | None


class Sustained(Record):
    """Calls without a pause for a long time: what heat does to latency."""

    seconds: float
    first_p50_ns: int
    """Median over the first tenth of the time."""
    last_p50_ns: int
    """Median over the last tenth of the time."""
    points: tuple[SustainedPoint, ...]


class Measurement(Record):
    """Raw times of one file on one device with one thread count; statistics are derived."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    file: str
    model_sha256: str
    source_sha256: str | None
    format: Format
    precision: Precision
    device: str
    device_info: DeviceInfo
    runtime: str
    num_threads: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    num_warmup: int = Field(ge=0)
    latencies_ns: tuple[int, ...] = Field(min_length=1)
    encode_ns: int | None
    """Median of the encode half; ``None`` where no record says how samples are encoded."""
    decode_ns: int
    load_ns: int
    first_invoke_ns: int
    baseline_rss_bytes: int
    """Resident memory of the measuring process just before the model was loaded."""
    peak_rss_bytes: int
    """Highest resident memory minus ``baseline_rss_bytes``: what the model and runtime added."""
    size_bytes: int
    metric: Metric | None
    before: MachineState | None = None
    after: MachineState | None = None
    other_load: float | None = None
    """Cores that other processes kept busy while calls were timed."""
    energy: Energy | None = None
    energy_unknown: str | None = None
    """Why there is no ``energy``."""
    sustained: Sustained | None = None
    created: str

    def percentile_ms(self, q: float) -> float | None:
        """The ``q``-th latency percentile in ms (0 to 100), linearly interpolated.

        ``None`` where too few calls support it: a percentile needs at least ``100 / (100 - q)``
        calls above it, so the 99th needs 100.
        """
        if not 0 <= q < 100:
            raise ValueError(f"q must be in [0, 100), found {q}")
        if len(self.latencies_ns) * (100 - q) < 100 - 1e-9:
            return None
        return _percentile(sorted(self.latencies_ns), q) / 1e6

    @property
    def cold_start_ms(self) -> float:
        """Load plus first inference, in ms."""
        return (self.load_ns + self.first_invoke_ns) / 1e6

    @property
    def spread(self) -> float:
        """Interquartile range over median: above 0.1 the machine was not quiet."""
        ordered = sorted(self.latencies_ns)
        q1, median, q3 = (_percentile(ordered, q) for q in (25, 50, 75))
        return (q3 - q1) / median if median else 0.0

    @property
    def doubts(self) -> tuple[str, ...]:
        """What of the device's state makes its times worse than they can be; none if emulated."""
        if self.device_info.emulated or self.before is None or self.after is None:
            return ()
        found = []
        throttled = self.after.throttled
        if throttled not in (None, "no", self.before.throttled):
            found.append(f"it throttled while it was measured ({throttled})")
        elif throttled is not None and "now" in throttled:
            found.append(f"it is throttled ({throttled}): look at its supply and its cooling")
        elif throttled is not None and "under-voltage" in throttled:
            found.append(f"its supply is weak ({throttled})")
        if self.after.governor not in (None, "performance"):
            found.append(f"its governor is {self.after.governor}, not performance")
        return tuple(found)

    @property
    def busy_cores(self) -> float:
        """Cores that other work took away; 0 where it is unknown, little, or of an emulation."""
        if self.device_info.emulated or self.other_load is None or self.other_load <= BUSY_CORES:
            return 0.0
        return self.other_load


def _percentile(ordered: Sequence[int], q: float) -> float:
    position = (len(ordered) - 1) * q / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
