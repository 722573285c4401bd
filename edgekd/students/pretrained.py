"""Where a student starts: fresh, from a local weights file, or from timm's published weights."""

from pathlib import Path

from torch import nn

from edgekd.config import TrainRecipe
from edgekd.console import Console
from edgekd.errors import ModelError
from edgekd.records import ArchSpec, ImageInput, Preprocess
from edgekd.students import sensor, timm_family
from edgekd.students.build import student_name
from edgekd.students.head import backbone_of
from edgekd.students.weights import load_weights, read_weights


def starts_pretrained(recipe: TrainRecipe) -> bool:
    """Whether ``pretrained`` speaks of the student: with a teacher it speaks of the teacher."""
    return recipe.pretrained and recipe.teacher is None


def load_initial_weights(
    module: nn.Module, arch: ArchSpec, recipe: TrainRecipe, console: Console
) -> None:
    """Fill a fresh student with what the recipe names; a classifier of another size stays fresh.

    An embedding network takes the weights of another one, or those of a classifier for its
    backbone alone.

    Raises:
        ModelError: If the weights do not fit, both sources are named, or the family publishes none.
        BundleError: If the weights file is damaged.
    """
    if recipe.weights is not None and starts_pretrained(recipe):
        raise ModelError("weights and pretrained both say where the student starts; give one")
    if recipe.weights is not None:
        part = _part_for(module, recipe.weights)
        load_weights(part, recipe.weights, replace_head=True, console=console)
    elif starts_pretrained(recipe):
        if arch.family != timm_family.FAMILY:
            raise ModelError(
                f"{recipe.student}: has no published weights; timm:{recipe.student} may have"
            )
        published = timm_family.build(arch, pretrained=True).state_dict()
        backbone_of(module).load_state_dict(published)
    elif recipe.method == "cdd":
        console.info(
            "the student starts from random weights; --weights TEACHER/weights.safetensors starts "
            "it from its teacher's"
        )


def _part_for(module: nn.Module, path: Path) -> nn.Module:
    """The whole module where the weights file has its very names, else its backbone."""
    whole = read_weights(path).keys() == module.state_dict().keys()
    return module if whole else backbone_of(module)


def pretrained_preprocess(recipe: TrainRecipe, measured: Preprocess) -> Preprocess:
    """``measured``, with the mean and std that published weights were trained with, if any.

    Raises:
        ModelError: If the student has no published weights, or does not take the data's inputs.
    """
    if not starts_pretrained(recipe):
        return measured
    name = student_name(recipe.student, measured.inputs)
    if name == sensor.FAMILY:
        raise ModelError(
            f"{name}: a student of sensors has no published weights; leave --pretrained out"
        )
    mean, std, _ = timm_family.timm_preprocess(name)
    spec = measured.image
    if spec.channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    image = ImageInput.model_validate(spec.model_dump() | {"mean": mean, "std": std})
    return Preprocess(inputs=(image,))
