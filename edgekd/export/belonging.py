"""Do the classes of the data belong to the network? Only then does a metric say anything.

What edgekd trained knows its classes by name. A network that was finished elsewhere knows how many
it has: then the names of the data are taken where there are as many, in the data's order, which may
be another than the network's. The answers tell: a network that hits no more often than chance was
trained for something else.
"""

from collections.abc import Sequence
from typing import Final

from edgekd.config import ExportRecipe
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError
from edgekd.export.parity import Reference
from edgekd.export.sources import is_foreign
from edgekd.records import StudentBundle

_ENOUGH: Final = 50  # samples; fewer hits than chance may be chance
_TIMES_CHANCE: Final = 2.0
_ABOVE_CHANCE: Final = 0.1  # twice chance is all there is, of two classes


def belonging(dataset: Dataset, record: StudentBundle, recipe: ExportRecipe) -> tuple[str, ...]:
    """Why the labels of the data say nothing about a network; empty where they do.

    Args:
        dataset: For calibration and judgement.
        record: Of the network.
        recipe: Whether anything has to be trained.

    Raises:
        DataError: If the data is not what edgekd trained the network for, or a recovery would
            have to learn from labels of other classes.
    """
    names = dataset.train_class_names
    if names == record.labels:
        return ()
    if not is_foreign(record):
        kind = "classes" if record.task == "classification" else "training identities"
        raise DataError(
            f"{dataset.source}: has {kind} {_few(names)}, the student was "
            f"trained for {_few(record.labels)}; give the data it was trained on, split as it was"
        )
    note = (
        f"{dataset.source} has {len(names)} classes and the network answers {len(record.labels)}: "
        "its samples calibrate, and files are judged by SQNR and agreement alone, by no metric"
    )
    if recipe.recovery.epochs:
        raise DataError(f"{note}; --recover learns from labels: give the data it was trained on")
    return (note,)


def unlikely(reference: Reference, record: StudentBundle) -> tuple[str, ...]:
    """A note where a network that was finished elsewhere answers the labels no better than chance.

    Args:
        reference: Held-out samples with the network's answers.
        record: Of the network.
    """
    found = reference.metrics(reference.logits)
    if not found or record.task != "classification":
        return ()
    chance, top1 = 1 / len(record.labels), found[0]
    limit = min(_TIMES_CHANCE * chance, chance + _ABOVE_CHANCE)
    if top1.num_samples < _ENOUGH or top1.value >= limit or not is_foreign(record):
        return ()
    return (
        f"{top1.name} of the network is {top1.value:.1%} on {top1.num_samples} samples, chance is "
        f"{chance:.1%}: its classes are probably not those of the data, or in another order, and "
        "then the metric and its drop say nothing; SQNR and agreement do",
    )


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''} ({len(names)})"
