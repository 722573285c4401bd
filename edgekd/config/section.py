"""What every table of a recipe has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of recipe tables: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
