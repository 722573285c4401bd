"""What all records have in common, and the words of their fields."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

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
