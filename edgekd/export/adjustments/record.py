"""What was changed in a float network before its int8 file was made: enough to do it again."""

from typing import Annotated, Final, Literal

from pydantic import Field

from edgekd.records import Record

Kind = Literal["equalization", "smoothing", "bias correction"]

KINDS: Final[tuple[Kind, ...]] = ("equalization", "smoothing", "bias correction")
"""In the order in which they are tried; each on top of those before it that were kept."""

STEPS_PER_OCTAVE: Final = 8  # scales 9 % apart: far below what 8 bits can tell
LARGEST_STEP: Final = 7 * STEPS_PER_OCTAVE  # a factor of 128 either way
LARGEST_LEVEL: Final = 127


class ChannelScaling(Record):
    """One factor per channel, taken out where a tensor is made and put in where it is read.

    In exact arithmetic the network computes the same.
    """

    kind: Literal["equalization", "smoothing"]
    alpha: float | None = None
    """How much of the activations' spread moves into the weights, 0 to 1; ``None`` where only the
    weights on either side were looked at."""
    divided: tuple[str, ...] = Field(min_length=1)
    """Parameters whose first axis is the channels."""
    multiplied: tuple[str, ...] = Field(min_length=1)
    """Weights whose second axis is the channels, of one group after the other."""
    eighths: tuple[Annotated[int, Field(ge=-LARGEST_STEP, le=LARGEST_STEP)], ...] = Field(
        min_length=1
    )
    """Of every channel ``8 * log2(factor)``."""


class BiasShift(Record):
    """What is added to a bias: the mean that rounding its layer's weights takes away."""

    parameter: str
    step: float = Field(gt=0)
    levels: tuple[Annotated[int, Field(ge=-LARGEST_LEVEL, le=LARGEST_LEVEL)], ...] = Field(
        min_length=1
    )
    """Of every channel the shift in steps."""


class Adjustments(Record):
    """Everything that was changed; the scalings in order, then the shifts."""

    scalings: tuple[ChannelScaling, ...] = ()
    shifts: tuple[BiasShift, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything was."""
        return bool(self.scalings or self.shifts)


AS_IT_IS: Final = Adjustments()
"""Nothing was changed."""
