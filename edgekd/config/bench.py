"""What ``edgekd bench`` can be told."""

from typing import Annotated, Literal

from pydantic import Field

from edgekd.config.data import DataRecipe


class BenchRecipe(DataRecipe):
    """Everything ``edgekd bench`` can be told."""

    data: str | None = None  # type: ignore[assignment]  # without data there is no metric
    device: str = "local"
    num_threads: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    num_warmup: Annotated[int, Field(ge=0)] = 10
    num_calls: Annotated[int, Field(ge=1)] = 200
    min_seconds: Annotated[float, Field(ge=0)] = 1.0
    """Calls go on until both ``num_calls`` and this much time have passed."""
    metric_split: Literal["train", "val", "test"] = "test"
    baseline: bool = False
