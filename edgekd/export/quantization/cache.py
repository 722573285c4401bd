"""Recipes that were searched before, under the user's cache folder: a second export is instant."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgekd.atomic import write_atomically
from edgekd.bundle import to_json
from edgekd.config import ExportRecipe
from edgekd.errors import ConfigError, OutputError
from edgekd.export.quantization.recipe import RECIPE_SUFFIX, Int8Recipe, read_int8_recipe
from edgekd.records import MeasuringDevice

_SEARCH_VERSION: Final = 10
"""Raised whenever the search or the writers change: their old results are not asked again."""


@dataclass(frozen=True, kw_only=True)
class SearchKey:
    """All that the outcome of a search depends on."""

    source_sha256: str
    samples_sha256: str
    versions: dict[str, str]
    machine: dict[str, str | None]
    limits: dict[str, Any]
    search: int = _SEARCH_VERSION

    @classmethod
    def of(
        cls,
        source: str,
        samples: str,
        versions: dict[str, str],
        recipe: ExportRecipe,
        device: MeasuringDevice,
    ) -> "SearchKey":
        """The key of one fp32 file on one device.

        Args:
            source: sha256 of the file.
            samples: sha256 of the calibration samples.
            versions: Of edgekd, the runtime and the quantizer.
            recipe: With the limits of the search, and the time for each of its formats.
            device: That times candidates.
        """
        return cls(
            source_sha256=source,
            samples_sha256=samples,
            versions=versions,
            machine=_machine(device),
            limits=recipe.model_dump(
                include={
                    "min_sqnr_db", "min_agreement", "max_drop_points", "num_threads", "num_parity",
                    "seed", "adjustments",
                }
            ) | {"seconds": recipe.search_seconds / len(recipe.formats)},
        )  # fmt: skip

    @property
    def file(self) -> Path:
        """Where the recipe is kept."""
        text = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return cache_folder() / f"{digest[:32]}{RECIPE_SUFFIX}"


def _machine(device: MeasuringDevice) -> dict[str, str | None]:
    """What makes times comparable: the processor and the runtime, under whatever name.

    A device that says neither its board nor its processor is only like itself.
    """
    unknown = device.board is None and device.cpu is None
    fields = device.model_dump(include={"board", "cpu", "arch", "runtime"})
    return {**fields, "name": device.name if unknown else None}


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/edgekd/int8``; XDG Base Directory Specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "edgekd" / "int8"


def recall(key: SearchKey) -> Int8Recipe | None:
    """What an earlier search found; ``None`` where there was none, or its file is damaged."""
    if not key.file.is_file():
        return None
    try:
        return read_int8_recipe(key.file)
    except ConfigError:  # a cache may always be forgotten: the search is simply made again
        return None


def remember(key: SearchKey, recipe: Int8Recipe) -> None:
    """Keep what a search found, where the cache folder can be written."""
    try:
        write_atomically(key.file, to_json(recipe))
    except OutputError:  # a read-only home: the next export searches again
        return
