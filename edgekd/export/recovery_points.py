"""Where a recovery rounds: where the files that are to be recovered round, not everywhere."""

from collections.abc import Mapping, Sequence

from edgekd.export.formats import FORMATS, Candidate, Source
from edgekd.export.quantization.calibration import CalibrationSamples, collect
from edgekd.export.quantization.learned import same_values
from edgekd.export.quantization.recipe import Int8Recipe, Range


def points_in_float(
    seen: Mapping[str, Range],
    first: Sequence[Candidate],
    source: Source,
    calibration: CalibrationSamples,
) -> frozenset[str]:
    """Points of the network that no int8 file of the first export holds in 8 bits.

    None where a file is meant to compute everything in int8, or where a search has found nothing to
    take: then the strictest form is trained for. A point is told by its extremes, as learned ranges
    are.

    Args:
        seen: Point to its extremes over the calibration samples, in float.
        first: Files of the first export.
        source: Of them; its fp32 files lie in its scratch folder.
        calibration: The samples.
    """
    rounded: set[str] = set()
    for candidate in first:
        recipe = candidate.int8_recipe
        if recipe is None:
            continue
        if not _is_mixture(recipe):
            return frozenset()
        held = _held_in_8_bits(recipe, source, calibration)
        rounded |= {
            name for name, own in seen.items() if any(same_values(own, other) for other in held)
        }
    return frozenset(seen) - rounded if rounded else frozenset()


def _is_mixture(recipe: Int8Recipe) -> bool:
    """Whether a search decided what computes in int8, and found something."""
    figures = recipe.figures
    return recipe.mode == "fast" and figures is not None and figures.fallback is None


def _held_in_8_bits(
    recipe: Int8Recipe, source: Source, calibration: CalibrationSamples
) -> list[Range]:
    """Extremes of what a file holds in 8 bits, in the network as it is."""
    quantizer = FORMATS[recipe.format].quantizer(
        source.work / f"student.{recipe.format}", recipe.processor
    )
    feeds = calibration.feeds(
        source.recipe.input_encoding,
        channel_last=FORMATS[recipe.format].channel_last(source.recipe),
    )
    extremes = collect(quantizer, feeds).extremes()
    return [extremes[name] for name in quantizer.rounded(recipe.operators) if name in extremes]
