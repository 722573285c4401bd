"""Where samples come from and how they are split: a part of every recipe."""

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from edgekd.config.section import Section


class DataRecipe(Section):
    """Which data, and how it is split where it brings no split of its own."""

    data: str
    split: Annotated[tuple[float, float], Field()] = (0.15, 0.15)
    """Fractions of val and test, drawn by content hash, for data without a split."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of train that becomes val where data has train and test but no val; for retrieval a
    share of its identities."""
    train_folder: str | None = None
    """Folder inside the data that is train, where it is not called so; with ``test_folder``."""
    test_folder: str | None = None
    group: str | None = None
    """Column of a manifest or array of an ``.npz`` that must not straddle splits."""
    test_groups: tuple[str, ...] = ()
    """Groups that are test, for example the subjects that are left out; needs ``group``."""
    val_groups: tuple[str, ...] = ()
    """Groups that are val; drawn off train with ``val_fraction`` if left out."""
    modalities: tuple[str, ...] = ()
    """Which modalities of an ``.npz`` are used, ``image`` for its images; all if left out."""
    max_bad_files: Annotated[int, Field(ge=0)] = 10
    """How many unreadable files are skipped (each is named) before it is an error."""
    download: bool = False

    @field_validator("split")
    @classmethod
    def _leaves_training_data(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0 or sum(value) >= 1:
            raise ValueError("val and test fractions must be > 0 and sum to less than 1")
        return value

    @field_validator("test_groups", "val_groups", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: Any) -> Any:
        """Subjects are often numbers, and a recipe may write them so."""
        if not isinstance(value, list | tuple):
            return value
        return tuple(str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in value)

    @model_validator(mode="after")
    def _leaves_groups_out(self) -> Self:
        if self.val_groups and not self.test_groups:
            raise ValueError("val_groups names groups for val alone; name test_groups too")
        if self.test_groups and self.group is None:
            raise ValueError("test_groups needs `group`, the name of the column that holds them")
        both = sorted(set(self.test_groups) & set(self.val_groups))
        if both:
            raise ValueError(
                f"test_groups and val_groups both name {', '.join(both)}; leave it in one of them"
            )
        return self

    @model_validator(mode="after")
    def _names_both_folders(self) -> Self:
        folders = [f and f.strip("/") for f in (self.train_folder, self.test_folder)]
        if (folders[0] is None) != (folders[1] is None):
            raise ValueError("train_folder and test_folder belong together; give both")
        if folders[0] is not None and (folders[0] == folders[1] or "" in folders):
            raise ValueError("train_folder and test_folder must name two folders")
        return self
