"""Int8 recipes of an earlier export: the same file again, or a reason why it cannot be."""

from pathlib import Path

from edgekd.bundle import sha256_of
from edgekd.config import ExportRecipe
from edgekd.errors import ConfigError
from edgekd.export.int8_basis import Basis
from edgekd.export.int8_job import Int8Job
from edgekd.export.quantization.cache import SearchKey, recall
from edgekd.export.quantization.recipe import Int8Recipe, read_int8_recipe


def given_recipe(recipe: ExportRecipe, model_format: str) -> tuple[str, Int8Recipe] | None:
    """The int8 recipe of a format that shall be replayed, with its path.

    Raises:
        ConfigError: If a recipe is damaged, or only other formats have one.
    """
    found = [(path, read_int8_recipe(Path(path))) for path in recipe.int8_recipe]
    mine = [(path, given) for path, given in found if given.format == model_format]
    if not mine:
        if found:
            raise ConfigError(
                f"--int8-recipe: none of the recipes is for {model_format}; give its recipe "
                f"as well, or --format {found[0][1].format}"
            )
        return None
    return mine[-1]


def replayed(plain: Basis, job: Int8Job) -> tuple[Basis, Int8Recipe] | None:
    """The given recipe of this format and what it starts from; ``None`` where none is given.

    Raises:
        ConfigError: If it is not one of this very file.
    """
    given = given_recipe(job.recipe, plain.quantizer.format)
    if given is None:
        return None
    path, recipe = given
    basis = job.basis_of(plain, recipe.adjustments)
    if recipe.source_sha256 != sha256_of(basis.fp32):
        raise ConfigError(
            f"{path}: made for another fp32 file (sha256 {recipe.source_sha256[:12]}); "
            "give the bundle, flags and tool versions it was made with"
        )
    units = {unit.name: unit for unit in basis.quantizer.units}
    strange = sorted(
        name
        for name in units.keys() | recipe.operators.keys()
        if name not in units or recipe.operators.get(name) not in units[name].choices
    )
    if strange:
        raise ConfigError(
            f"{path}: does not fit the graph at {strange[0]!r} ({len(strange)} operators); "
            "it was written by another version: search again"
        )
    if "static" in recipe.operators.values() and not recipe.ranges:
        raise ConfigError(f"{path}: holds no range for its static operators: search again")
    return basis, recipe


def recalled(plain: Basis, job: Int8Job, key: SearchKey) -> tuple[Basis, Int8Recipe] | None:
    """What an earlier search found, if its file can be made again from what it started from."""
    known = recall(key) if job.recipe.cache else None
    if known is None:
        return None
    basis = job.basis_of(plain, known.adjustments)
    if sha256_of(basis.fp32) != known.source_sha256:
        return None
    if job.adjuster is not None:
        job.adjuster.settled = known.adjustments
    return basis, known
