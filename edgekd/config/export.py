"""What ``edgekd export`` can be told."""

from typing import Annotated, Literal

from pydantic import Field

from edgekd.config.data import DataRecipe


class ExportRecipe(DataRecipe):
    """Everything ``edgekd export`` can be told."""

    data: str | None = None  # type: ignore[assignment]  # only int8 and the metric need samples
    formats: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")
    int8: bool = False
    input_encoding: Literal["float32", "uint8"] = "float32"
    channel_last: bool = True
    """Layout of the TFLite input; ONNX keeps ``(B, C, H, W)``."""
    simplify: bool = True
    num_calibration: Annotated[int, Field(ge=1, le=100_000)] = 256
    num_parity: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Held-out samples (val) on which int8 outputs are compared."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    """Largest difference of an fp32 logit from torch's, relative to max(1, largest logit)."""
    min_sqnr_db: float = 10.0
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.9
    max_drop: Annotated[float, Field(ge=0)] = 0.02
    """Largest loss of the task metric through int8, as a fraction (0.005 is half a point)."""
