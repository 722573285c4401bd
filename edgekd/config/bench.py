"""What ``edgekd bench`` can be told."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from edgekd.config.data import DataRecipe


class BenchRecipe(DataRecipe):
    """Everything ``edgekd bench`` can be told."""

    data: str | None = None  # type: ignore[assignment]  # without data there is no metric
    device: tuple[str, ...] = ("local",)
    """Several measure side by side."""
    num_threads: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    num_warmup: Annotated[int, Field(ge=0)] = 10
    num_calls: Annotated[int, Field(ge=1)] = 200
    min_seconds: Annotated[float, Field(ge=0)] = 1.0
    """Calls go on until both ``num_calls`` and this much time have passed."""
    metric_split: Literal["train", "val", "test"] = "test"
    missing: tuple[str, ...] = ()
    """Inputs that are not there: each is fed its training mean, and the metric says so."""
    num_samples: Annotated[int, Field(ge=1)] | None = None
    """How many samples of the split, drawn with a fixed seed; ``None`` is all of them."""
    sustain_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """How long each file runs without a pause, to see what heat does; 0 is not at all."""
    energy_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    """How long each file runs while energy is read, where the device can tell."""
    wheels: str | None = None
    """Folder of wheels for boards, in place of the package index."""
    baseline: bool = False

    def unread(self) -> dict[str, str]:
        """What only a metric can show."""
        if self.data is not None:
            return {}
        return {"missing": "without data no sample is fed and no metric tells; give --data"}

    @field_validator("device", mode="before")
    @classmethod
    def _one_is_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("device")
    @classmethod
    def _names_each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("expected one or more devices, each once")
        return value

    @field_validator("missing")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(value)))  # in whatever order they were typed

    @field_validator("sustain_seconds", mode="before")
    @classmethod
    def _takes_a_unit(cls, value: Any) -> Any:
        return value.removesuffix("s") if isinstance(value, str) else value
