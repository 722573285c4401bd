"""What every table of a recipe has in common."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of recipe tables: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def unread(self) -> Mapping[str, str]:
        """Tables and fields that what is asked for never looks at: dotted key to the reason.

        A recipe file may hold them, for other runs. On a command line they are a mistake.
        """
        return {}
