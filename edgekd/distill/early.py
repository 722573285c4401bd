"""What is wrong with a recipe whatever its data hold: found before any of them are read."""

from typing import Final

from edgekd.config import TrainRecipe
from edgekd.distill.methods.table import make_method
from edgekd.records import ImageInput, SignalInput
from edgekd.students import resnet, sensor, timm_family
from edgekd.students.build import parse_student_for
from edgekd.teachers.open import check_teacher

_CLASSES: Final = 2
_CHANNELS: Final = 3
_WINDOW: Final = SignalInput(name="window", channels=1, length=256, mean=(0.0,), std=(1.0,))


def check_before_data(recipe: TrainRecipe) -> None:
    """Refuse a method, student or teacher that no data would make possible.

    What depends on the data too (classes, channels, a size that the recipe leaves to them) is
    refused when they are open.

    Raises:
        ModelError: If the student's name or options, or the teacher's name or kind, are wrong, or
            the method needs a teacher and there is none.
        ConfigError: If the method cannot do what the recipe says.
        BundleError: If the teacher's files are damaged.
    """
    make_method(recipe.settled(num_samples=1))  # what it refuses, it refuses for any number
    _check_student(recipe)
    if recipe.teacher is not None:
        check_teacher(recipe.teacher, task=recipe.task, pretrained=recipe.pretrained)


def _check_student(recipe: TrainRecipe) -> None:
    name, options = recipe.student, recipe.student_options
    if name is None:  # data of sensors need none
        return
    if name == sensor.FAMILY:
        _parse(recipe, _WINDOW)
    elif recipe.input_size is not None:
        _parse(recipe, _image(recipe.input_size))
    elif resnet.parse(name, options, num_classes=_CLASSES, in_channels=_CHANNELS) is None:
        timm_family.check(name, options)


def _parse(recipe: TrainRecipe, spec: ImageInput | SignalInput) -> None:
    parse_student_for(
        recipe.student,
        recipe.student_options,
        inputs=(spec,),
        num_classes=_CLASSES,
        embedding_dim=recipe.retrieval.embedding_dim if recipe.task == "retrieval" else None,
    )


def _image(size: int) -> ImageInput:
    mean, std = (0.5,) * _CHANNELS, (0.5,) * _CHANNELS
    return ImageInput(channels=_CHANNELS, height=size, width=size, mean=mean, std=std)
