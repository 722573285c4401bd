"""What every table of a recipe has in common."""

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of recipe tables: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def unread(self) -> Mapping[str, str]:
        """Tables and fields that what is asked for never looks at: dotted key to the reason.

        A recipe file may hold them, for other runs. On a command line they are a mistake.
        """
        return {}

    @classmethod
    def dotted_keys(cls) -> Iterator[str]:
        """Every key there is, dotted where it lies in a table.

        >>> from edgekd.config import TrainRecipe
        >>> set(TrainRecipe.dotted_keys()) > {"epochs", "augment.flip"}
        True
        """
        for name, field in cls.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from (f"{name}.{key}" for key in kind.dotted_keys())
            else:
                yield name
