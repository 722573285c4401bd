"""A file for a runtime, and the proof that it answers like its source."""

from typing import Final, Literal

from pydantic import Field

from edgekd.records.base import SCHEMA, Format, Precision, Record, SplitName, Task
from edgekd.records.bundle import Metric, Provenance
from edgekd.records.inputs import Preprocess

OTHER_DATA: Final = "judged on other data than the student was trained on"
"""How the note begins that an exported file has where that is so."""


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
    Of a source that is all zeros the noise is against values of 1.
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
    largest_rank: int | None = Field(default=None, ge=0)
    """Axes of the largest tensor that an operator makes; null in records of older versions."""
    uncounted_operators: tuple[str, ...] = ()

    @property
    def num_operators(self) -> int:
        """All that the file computes with; what only converts between types is not one."""
        return sum(self.int8_operators.values()) + sum(self.float_operators.values())


class Adjustment(Record):
    """A change of the float network that was tried before its int8 file was made.

    SQNR is of the file with every operator in int8 that can be, on calibration samples which the
    change was not made from where there are enough; within +-200 dB, where -200 is no answer.
    """

    name: str
    """``equalization``, ``smoothing``, ``bias correction``, or several of them together."""
    places: int = Field(ge=1)
    """Groups of channels that were scaled, and biases that were shifted."""
    sqnr_db_before: float
    sqnr_db_after: float
    applied: bool
    """Whether the int8 file was made with it."""


class LayerError(Record):
    """How far one layer alone, computed as in the int8 file, moves the answers of the network."""

    layer: str
    kind: str
    computes: Literal["static", "dynamic"]
    sqnr_db: float
    """Of a file whose other layers compute in float; within +-200 dB."""
    metric_drop: float | None = None
    """What that file loses of the task's metric against the float network, as a fraction, on the
    samples of the whole file's ``parity``; null where it is not known."""
    metric_unknown: str | None = None
    """Why it is not."""


class Recovery(Record):
    """A training that taught the float network inside an int8 file to bear 8 bits.

    The file's ``max_abs_err`` and ``sqnr_db`` are then against that network, which is another one
    than the student as trained; agreement and metric drop are against the student.
    """

    epochs: int = Field(ge=1)
    final_loss: float
    """Mean training loss of the last epoch."""
    reason: str
    """What the files lost before."""
    teacher: str
    """``student``, in fp32, or the source of another teacher."""
    weights_sha256: str
    """Of the network's weights, BatchNorm folded, which lie beside the file."""


class OperatorCheck(Record):
    """Every int8 operator of a file alone, with fast and with reference kernels on equal inputs.

    Shares are of values that differ by at most one step of their tensor's scale. Operators that
    only move values are not counted.
    """

    num_operators: int = Field(ge=1)
    share: float = Field(ge=0, le=1)
    """Of the values of all operators."""
    lowest_share: float = Field(ge=0, le=1)
    """Of the values of one operator."""
    worst: str
    """That operator: its type and the tensor that it makes."""


class ReferenceCheck(Record):
    """An int8 file in another interpreter, with the plain kernels that define its operators.

    ``share`` of the answers are within one step of the output scale, where the roundings of all
    operators add up: whether kernels are right is in ``operators``. ``share`` is null where the
    check was not made, ``operators`` also where nothing computes in int8; ``reason`` says why.
    """

    runtime: str
    share: float | None = Field(ge=0, le=1)
    step: float | None
    num_samples: int = Field(ge=0)
    operators: OperatorCheck | None = None
    reason: str | None = None


class Int8Checks(Record):
    """What was looked for in an int8 file besides its answers."""

    saturated: dict[str, float] | None
    """Activation to the share of calibration values outside its range, where that is over 0.1 %;
    null where no range was set from samples."""
    dead_channels: dict[str, int]
    """Weights to their output channels that are all zero in 8 bits."""
    reference: ReferenceCheck | None
    """TFLite only."""


class MeasuringDevice(Record):
    """Where the candidates for an int8 file were timed; unknown is ``None``."""

    name: str
    """As the user calls it, ``local`` for the machine that exported."""
    board: str | None
    cpu: str | None
    arch: str
    runtime: str
    """With its version there."""
    num_threads: int = Field(ge=1)

    @property
    def machine(self) -> str:
        """What it calls itself."""
        return self.board or self.cpu or self.arch


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
    int8_checks: Int8Checks | None = None
    """Of an int8 file."""
    parity: Parity
    preprocess: Preprocess
    labels: tuple[str, ...]
    source_sha256: str
    """sha256 of the weights the file was made from; links a file to its bundle."""
    metrics: tuple[Metric, ...]
    versions: dict[str, str]
    provenance: Provenance | None
    adjustments: tuple[Adjustment, ...] = ()
    """Of the float network before int8, in the order in which they were tried."""
    layer_errors: tuple[LayerError, ...] = ()
    """Of an int8 file the layers that were measured alone, worst first."""
    unmeasured_layers: int = Field(default=0, ge=0)
    """How many other layers of it compute in int8: not every one is measured, nor is there always
    time."""
    measured_on: MeasuringDevice | None = None
    """Where its int8 recipe was found to be fast; ``None`` where none was searched for."""
    recovery: Recovery | None = None
    """``None`` where the file holds the student's own weights."""
    notes: tuple[str, ...] = ()

    @property
    def judged_on_other_data(self) -> bool:
        """Whether its metrics are of other data, or splits, than the network was trained on."""
        return any(note.startswith(OTHER_DATA) for note in self.notes)
