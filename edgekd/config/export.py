"""What ``edgekd export`` can be told."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgekd.config.data import DataRecipe
from edgekd.config.recovery import RecoveryRecipe

_LOCAL: Final = "local"
_ALLOWED_SAMPLES: Final = 2  # whose loss is chance
_BOARD_SECONDS: Final = 300.0  # it is slower, and candidates have to get there


class ExportRecipe(DataRecipe):
    """Everything ``edgekd export`` can be told."""

    data: str | None = None  # type: ignore[assignment]  # only int8 and the metric need samples
    formats: tuple[Literal["onnx", "tflite"], ...] = ("onnx", "tflite")
    int8: Literal["fast", "full", "weights", "dynamic"] | None = None
    """``fast``: what measuring finds fastest; ``full``: every operator, or an error; ``weights``:
    stored in 8 bits, computed in float; ``dynamic``: activations are quantized while running."""
    int8_recipe: tuple[str, ...] = ()
    """Recipes of an earlier export, one per format: the same int8 files again, without data."""
    device: str = _LOCAL
    """Where the search measures: this machine, or a board of the devices files."""
    wheels: str | None = None
    """Folder of wheels for the board, in place of the package index."""
    search_seconds: Annotated[float, Field(ge=0)] = 170.0
    """What the search for fast int8 files may take, of all formats together: calibration,
    adjustments of the network, candidates, and the errors of single layers. What one format leaves
    goes to the next. 300 on a board unless given."""
    num_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """With which the search measures."""
    reference_kernels: bool = True
    """Whether int8 TFLite files also run with TensorFlow's reference kernels, if installed."""
    cache: bool = True
    """Whether a search is asked for that was made before on this machine."""
    input_size: Annotated[int, Field(ge=8, le=8192)] | None = None
    """Height and width that a ``timm:NAME@FILE`` was trained at, ``None`` for timm's own; or those
    of a program that leaves them open."""
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
    min_sqnr_db: float = 20.0
    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.9
    max_drop_points: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Largest loss of the task metric through int8, in points; of few samples, as much as two of
    them weigh."""
    recovery: RecoveryRecipe = RecoveryRecipe()
    """What is done about int8 files that lose more."""

    @field_validator("int8", mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        """``true`` and ``false``, as recipes before the words had them."""
        return {True: "fast", False: None}.get(value, value) if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _recovers_what_is_calibrated(self) -> Self:
        if self.recovery.epochs and self.int8_recipe:
            raise ValueError(
                "recovery trains and int8_recipe makes an earlier file again, recovered or not; "
                "give one of them"
            )
        if self.recovery.epochs and self.int8 not in ("fast", "full"):
            raise ValueError(
                "recovery learns the ranges of activations; it is for int8 fast or full"
            )
        return self

    @model_validator(mode="after")
    def _computes_nothing_in_float(self) -> Self:
        if self.int8 == "full" and self.input_encoding == "uint8":
            raise ValueError(
                "input uint8 normalises raw pixels in float, and int8 full allows nothing in "
                "float; take input float32, or int8 fast"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _boards_get_more_time(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("device", _LOCAL) == _LOCAL:
            return values
        return {"search_seconds": _BOARD_SECONDS, **values}

    @model_validator(mode="after")
    def _device_has_something_to_measure(self) -> Self:
        if self.device == _LOCAL or (self.int8 == "fast" and not self.int8_recipe):
            return self
        if self.int8_recipe:
            why = "int8_recipe makes a file again as it was, for the device it was made for"
        elif self.int8 is None:
            why = "no int8 file is asked for"
        else:
            why = f"int8 {self.int8} follows from the word alone"
        raise ValueError(
            f"device {self.device} times the candidates of --int8 fast, and there is nothing to "
            f"measure: {why}; leave the device out, or take --int8 fast"
        )

    def unread(self) -> dict[str, str]:
        """Settings of a recovery that is not asked for."""
        if self.recovery.epochs:
            return {}
        reason = "without recovery.epochs nothing is trained; give --recover EPOCHS"
        others = (name for name in RecoveryRecipe.model_fields if name != "epochs")
        return {f"recovery.{name}": reason for name in others}

    def allowed_drop(self, num_samples: int) -> float:
        """Largest loss of the metric on so many samples, as a fraction.

        Two samples more or less say nothing: they are always allowed.

        >>> ExportRecipe(max_drop_points=0.5).allowed_drop(1000)
        0.005
        >>> ExportRecipe(max_drop_points=0.5).allowed_drop(50)
        0.04
        """
        return max(self.max_drop_points / 100, _ALLOWED_SAMPLES / num_samples)

    @property
    def wants_int8(self) -> bool:
        """Whether int8 files are written beside the fp32 ones."""
        return self.int8 is not None or bool(self.int8_recipe)

    @property
    def needs_calibration(self) -> bool:
        """Whether ranges have to be set from samples."""
        return self.int8 in ("fast", "full") and not self.int8_recipe
