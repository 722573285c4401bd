"""Where a student starts: fresh, from a local weights file, or from timm's published weights."""

from torch import nn

from edgekd.config import TrainRecipe
from edgekd.console import Console
from edgekd.errors import ModelError
from edgekd.records import ArchSpec, ImageInput, Preprocess
from edgekd.students import timm_family
from edgekd.students.weights import load_weights


def starts_pretrained(recipe: TrainRecipe) -> bool:
    """Whether ``pretrained`` speaks of the student: with a teacher it speaks of the teacher."""
    return recipe.pretrained and recipe.teacher is None


def load_initial_weights(
    module: nn.Module, arch: ArchSpec, recipe: TrainRecipe, console: Console
) -> None:
    """Fill a fresh student with what the recipe names; a classifier of another size stays fresh.

    Raises:
        ModelError: If the weights do not fit, both sources are named, or the family publishes none.
        BundleError: If the weights file is damaged.
    """
    if recipe.weights is not None and starts_pretrained(recipe):
        raise ModelError("weights and pretrained both say where the student starts; give one")
    if recipe.weights is not None:
        load_weights(module, recipe.weights, replace_head=True, console=console)
    elif starts_pretrained(recipe):
        if arch.family != timm_family.FAMILY:
            raise ModelError(
                f"{recipe.student}: has no published weights; timm:{recipe.student} may have"
            )
        module.load_state_dict(timm_family.build(arch, pretrained=True).state_dict())


def pretrained_preprocess(recipe: TrainRecipe, measured: Preprocess) -> Preprocess:
    """``measured``, with the mean and std that published weights were trained with, if any."""
    if not starts_pretrained(recipe):
        return measured
    mean, std, _ = timm_family.timm_preprocess(recipe.student)
    spec = measured.image
    if spec.channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    image = ImageInput.model_validate(spec.model_dump() | {"mean": mean, "std": std})
    return Preprocess(inputs=(image,))
