"""Fine-tuning of a student whose int8 files lose too much."""

from typing import Annotated, Literal

from pydantic import Field

from edgekd.config.section import Section


class RecoveryRecipe(Section):
    """Training with 8-bit rounding in the student, against itself in fp32."""

    epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Passes over the training split, where an int8 file loses more than ``max_drop_points``
    allows;
    0 never trains."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Highest learning rate of AdamW: a step moves a weight by about as much."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] | Literal["auto"] = "auto"
    """Samples per step; auto is 128, or less where an epoch would have few steps."""
    teacher: str | None = None
    """Who teaches instead of the student in fp32; for one image, or a bundle for its own inputs."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0
    """Softmax temperature of what is taught."""
    kd_weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of the soft loss; the labels' cross-entropy has the rest. Embeddings have no labels'
    share."""
