"""Where samples come from and how they are split: a part of every recipe."""

from typing import Annotated, Self

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
    max_bad_files: Annotated[int, Field(ge=0)] = 10
    """How many unreadable files are skipped (each is named) before it is an error."""
    download: bool = False

    @field_validator("split")
    @classmethod
    def _leaves_training_data(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) <= 0 or sum(value) >= 1:
            raise ValueError("val and test fractions must be > 0 and sum to less than 1")
        return value

    @model_validator(mode="after")
    def _names_both_folders(self) -> Self:
        folders = [f and f.strip("/") for f in (self.train_folder, self.test_folder)]
        if (folders[0] is None) != (folders[1] is None):
            raise ValueError("train_folder and test_folder belong together; give both")
        if folders[0] is not None and (folders[0] == folders[1] or "" in folders):
            raise ValueError("train_folder and test_folder must name two folders")
        return self
