"""What an int8 file was made with: saved beside it, enough to make the same file again."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from edgekd.bundle import read_record
from edgekd.errors import ConfigError, EdgekdError
from edgekd.export.adjustments.record import Adjustments
from edgekd.records import SCHEMA, Adjustment, LayerError, MeasuringDevice, Record, Recovery

Choice = Literal["static", "dynamic", "weights", "float"]
"""How one operator computes. ``static``: on 8-bit activations with calibrated ranges; ``dynamic``:
activations are quantized while running; ``weights``: in float, weights stored in 8 bits;
``float``: in float, and its weights, where it has any, are stored as they are."""
Mode = Literal["fast", "full", "weights", "dynamic"]
Range = tuple[float, float]
Processor = Literal["arm", "x86-vnni", "x86"]
"""A family of int8 kernels, which decides what number types suit it."""

RECIPE_SUFFIX: Final = ".recipe.json"


class Figures(Record):
    """What the search measured; of its device at that moment, for comparison and not for show.

    ``speedup`` is fp32 time over this file's time, both taken in turns in one process.
    """

    speedup: float
    sqnr_db: float | None
    seconds: float
    candidates: int
    fallback: str | None = None
    """Why a recipe was taken that no measurement recommended; ``None`` where one did."""


class OperatorError(Record):
    """How much a stretch of operators, alone in int8, disturbs the answer."""

    operators: tuple[str, ...]
    sqnr_db: float
    """Signal to noise of the file's answers, within +-200."""


class Int8Recipe(Record):
    """Which operators of one fp32 file compute how, and the ranges of their activations.

    With the same fp32 file and the same tool versions it makes the byte-identical int8 file.
    """

    schema_: int = Field(default=SCHEMA, alias="schema")
    format: Literal["onnx", "tflite"]
    mode: Mode
    source_sha256: str
    """Of the fp32 file it is made from, before metadata is put into it."""
    adjustments: Adjustments = Adjustments()
    """Of the network in that file; without any, it is the fp32 file beside this one."""
    processor: Processor
    """Of the machine it was made for; a replay keeps its number types."""
    versions: dict[str, str]
    """Of edgekd, the runtime and the quantizer."""
    operators: dict[str, Choice]
    file_sha256: str | None = None
    """Of the int8 file, before metadata is put into it; a replay makes it again or is refused."""
    ranges: dict[str, Range]
    """Tensor to the smallest and largest real value it holds."""
    figures: Figures | None = None
    measured_on: MeasuringDevice | None = None
    """Where candidates were timed; ``None`` where none were."""
    sensitivity: tuple[OperatorError, ...] = ()
    """Worst first."""
    layers: tuple[LayerError, ...] = ()
    """Worst first."""
    unmeasured_layers: int = Field(default=0, ge=0)
    """Others that compute in int8."""
    tried: tuple[Adjustment, ...] = ()
    saturated: dict[str, float] | None = None
    """Activation to the share of calibration values outside its range, where that is notable."""
    notes: tuple[str, ...] = ()
    """Activations that saturate or never change, where there are some."""
    recovery: Recovery | None = None
    """The training that the fp32 file's weights and many ranges come from; its weights file lies
    beside the recipe, and both together make the int8 file again."""


def read_int8_recipe(path: Path) -> Int8Recipe:
    """A recipe that an earlier export wrote.

    Raises:
        ConfigError: If it is missing, damaged, altered or of another kind.
    """
    try:
        recipe = read_record(Int8Recipe, path)
    except (EdgekdError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{path}: not an int8 recipe that edgekd wrote ({reason}); "
            f"give the FILE{RECIPE_SUFFIX} of an earlier export, unaltered"
        ) from error
    return recipe
