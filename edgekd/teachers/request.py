"""What was asked for when a teacher is opened, and the checks that every kind shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from torch import nn

from edgekd.console import Console
from edgekd.errors import ModelError
from edgekd.records import ImageInput, InputSpec
from edgekd.teachers.protocol import Capability, LayerChoice


def no_layers(network: nn.Module) -> Sequence[nn.Module]:
    """The choice of a method that asks for no pooled outputs."""
    return ()


@dataclass(frozen=True, kw_only=True)
class TeacherRequest:
    """One ``--teacher``, seen from the data it has to answer.

    Attributes:
        source: As the user gave it, options included.
        location: ``source`` without the options after ``#``.
        options: What followed ``#``, for example ``{"mean": (0.5,)}``.
        inputs: The student's: shapes of the views, and the normalisation that a file without a
            record of its own gets.
        class_names: The data's, in the order of its labels.
        pretrained: Whether published weights may be fetched.
        needs: What the method needs; more than logits costs time, so only this is computed.
        console: Where notes go.
        layers: Chooses the layers whose pooled outputs each answer carries.
    """

    source: str
    location: str
    options: dict[str, tuple[float, ...]]
    inputs: tuple[InputSpec, ...]
    class_names: tuple[str, ...]
    pretrained: bool
    needs: frozenset[Capability]
    console: Console
    layers: LayerChoice = no_layers

    @property
    def path(self) -> Path:
        """``location`` as a path."""
        return Path(self.location)

    def one_image(self) -> ImageInput:
        """The student's only input, for kinds that take one image and nothing else.

        Raises:
            ModelError: If the data have anything else.
        """
        first = self.inputs[0]
        if len(self.inputs) != 1 or not isinstance(first, ImageInput):
            raise ModelError(
                f"teacher {self.source}: teachers answer one image, unless they are bundles; the "
                f"data have {', '.join(spec.name for spec in self.inputs)}: give the folder of "
                "edgekd distill, trained on such data"
            )
        return first

    def refuse_options(self) -> None:
        """For kinds that know their own normalisation.

        Raises:
            ModelError: If the source carries options.
        """
        if self.options:
            raise ModelError(
                f"teacher {self.source}: brings its own normalisation; remove what follows #"
            )

    def check_num_classes(self, found: int) -> None:
        """Compare the width of a teacher's logits with the data.

        Raises:
            ModelError: If they differ.
        """
        if found != len(self.class_names):
            raise ModelError(
                f"teacher {self.source}: answers {found} classes, the data has "
                f"{len(self.class_names)}; teach one on this data first: "
                "edgekd teach --data DATA --model resnet20 -o FOLDER"
            )

    def check_labels(self, found: Sequence[str]) -> None:
        """Compare a teacher's labels, in order, with the data's.

        Raises:
            ModelError: If the numbers differ, or at the first name that differs.
        """
        self.check_num_classes(len(found))
        for index, (own, data) in enumerate(zip_longest(found, self.class_names)):
            if own != data:
                raise ModelError(
                    f"teacher {self.source}: its class {index} is {own!r}, the data's is {data!r}; "
                    "give data with the same class names, or teach on this data first"
                )
