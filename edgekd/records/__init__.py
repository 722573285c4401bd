"""The records that flow between stages: frozen, typed, without I/O and without torch.

Letters used in shapes everywhere: B batch, C channels, H height, W width, T time steps,
K classes, D features. Fractions stay fractions; the unit of a field is its suffix.
"""

from edgekd.records.base import BUSY_CORES, SCHEMA, Format, Precision, Record, SplitName, Task
from edgekd.records.bundle import ArchSpec, DataRef, Metric, Provenance, StudentBundle, TeacherRef
from edgekd.records.exported import (
    OTHER_DATA,
    Adjustment,
    ExportedModel,
    Int8Checks,
    LayerError,
    MeasuringDevice,
    OperatorAudit,
    OperatorCheck,
    Parity,
    Recovery,
    ReferenceCheck,
    TensorSpec,
)
from edgekd.records.inputs import ImageInput, InputSpec, Preprocess, SignalInput
from edgekd.records.measurement import (
    DeviceInfo,
    Energy,
    MachineState,
    Measurement,
    Sustained,
    SustainedPoint,
)

__all__ = [
    "BUSY_CORES",
    "OTHER_DATA",
    "SCHEMA",
    "Adjustment",
    "ArchSpec",
    "DataRef",
    "DeviceInfo",
    "Energy",
    "ExportedModel",
    "Format",
    "ImageInput",
    "InputSpec",
    "Int8Checks",
    "LayerError",
    "MachineState",
    "Measurement",
    "MeasuringDevice",
    "Metric",
    "OperatorAudit",
    "OperatorCheck",
    "Parity",
    "Precision",
    "Preprocess",
    "Provenance",
    "Record",
    "Recovery",
    "ReferenceCheck",
    "SignalInput",
    "SplitName",
    "StudentBundle",
    "Sustained",
    "SustainedPoint",
    "Task",
    "TeacherRef",
    "TensorSpec",
]
