"""Int8 recipes of an earlier export: the same file again, or a reason why it cannot be."""

from collections.abc import Mapping
from pathlib import Path

import edgekd
from edgekd.bundle import sha256_of
from edgekd.config import ExportRecipe
from edgekd.errors import ConfigError
from edgekd.export.int8_basis import Basis
from edgekd.export.int8_job import Int8Job
from edgekd.export.quantization.cache import SearchKey, recall
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.recipe import Int8Recipe, read_int8_recipe


def formats_of_recipes(recipe: ExportRecipe) -> ExportRecipe:
    """With the formats of the int8 recipes it names, unless it says itself which it wants.

    Raises:
        ConfigError: If a recipe is damaged.
    """
    if not recipe.int8_recipe or "formats" in recipe.model_fields_set:
        return recipe
    given = {read_int8_recipe(Path(path)).format for path in recipe.int8_recipe}
    return recipe.model_copy(update={"formats": tuple(f for f in recipe.formats if f in given)})


def given_recipe(recipe: ExportRecipe, model_format: str) -> tuple[str, Int8Recipe] | None:
    """The int8 recipe of a format that shall be replayed, with its path.

    Raises:
        ConfigError: If a recipe is damaged or made by another ``--int8`` than is asked for, or if
            only other formats have one, or this one has two.
    """
    found = [(path, read_int8_recipe(Path(path))) for path in recipe.int8_recipe]
    for path, given in found:
        if recipe.int8 not in (None, given.mode):
            raise ConfigError(
                f"{path}: made by --int8 {given.mode}, and --int8 {recipe.int8} is asked for; "
                "leave out --int8 to make that file again, or --int8-recipe to make another"
            )
    mine = [(path, given) for path, given in found if given.format == model_format]
    if not mine:
        if found:
            raise ConfigError(
                f"--int8-recipe: none of the recipes is for {model_format}; give its recipe "
                f"as well, or --format {found[0][1].format}"
            )
        return None
    if len(mine) > 1:
        paths = " and ".join(path for path, _ in mine)
        raise ConfigError(f"--int8-recipe: {paths} are both for {model_format}; give one of them")
    return mine[0]


def replayed(plain: Basis, job: Int8Job) -> tuple[str, Basis, Int8Recipe] | None:
    """The given recipe of this format, its path before and what it starts from.

    ``None`` where none is given.

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
            f"{path}: made for another fp32 file (sha256 {recipe.source_sha256[:12]}) with "
            f"{_listed(recipe.versions)}; here are {_listed(versions_of(basis.quantizer))}; give "
            "the bundle, flags and tool versions it was made with"
        )
    units = {unit.name: unit for unit in basis.quantizer.units}
    strange = sorted(
        name
        for name in units.keys() | recipe.operators.keys()
        if name not in units or not units[name].can(recipe.operators.get(name))
    )
    if strange:
        raise ConfigError(
            f"{path}: does not fit the graph at {strange[0]!r} ({len(strange)} operators); "
            "it was written by another version: search again"
        )
    if "static" in recipe.operators.values() and not recipe.ranges:
        raise ConfigError(f"{path}: holds no range for its static operators: search again")
    return path, basis, recipe


def written_again(path: str, basis: Basis, recipe: Int8Recipe, target: Path) -> Int8Recipe:
    """Write the int8 file of a given recipe, and hold it against the one that was made with it.

    Raises:
        ConfigError: If it is another one, or there is nothing to hold it against and versions
            differ.
    """
    basis.quantizer.write(recipe.operators, recipe.ranges, target)
    digest, here = sha256_of(target), versions_of(basis.quantizer)
    is_known = recipe.file_sha256 is not None
    if is_known and digest == recipe.file_sha256:
        return recipe
    if is_known or not recipe.versions.items() <= here.items():
        raise ConfigError(
            f"{path}: made with {_listed(recipe.versions)}; here are {_listed(here)}, which "
            f"{'write' if is_known else 'may write'} another file; install those versions, or "
            "search again"
        )
    return recipe.model_copy(update={"file_sha256": digest})


def versions_of(quantizer: Quantizer) -> dict[str, str]:
    """Of all that decides the bytes of a quantizer's files."""
    return {"edgekd": edgekd.__version__, **quantizer.versions()}


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def recalled(plain: Basis, job: Int8Job, key: SearchKey) -> tuple[Basis, Int8Recipe] | None:
    """What an earlier search found, if its file can be made again from what it started from."""
    known = recall(key) if job.recipe.cache and job.remembers else None
    if known is None:
        return None
    basis = job.basis_of(plain, known.adjustments)
    if sha256_of(basis.fp32) != known.source_sha256:
        return None
    if job.adjuster is not None:
        job.adjuster.settled = known.adjustments
    return basis, known
