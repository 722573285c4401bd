"""The table of student families, and the way from a name or a bundle to a module."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import safetensors
import safetensors.torch
from torch import nn

from edgekd.bundle import WEIGHTS_FILE, read_bundle, read_training_head
from edgekd.errors import BundleError, ModelError
from edgekd.records import ArchSpec, ImageInput, InputSpec, StudentBundle
from edgekd.students import resnet, sensor, timm_family
from edgekd.students.head import EmbeddingNetwork, IdentityNetwork, with_classifier
from edgekd.students.surgery import with_widths

FAMILIES: Final[dict[str, ModuleType]] = {
    resnet.FAMILY: resnet,
    sensor.FAMILY: sensor,
    timm_family.FAMILY: timm_family,  # last: it knows many names, ours go first
}
"""Family name -> module with ``parse``, ``build`` and ``num_features``. To add one: its file, a
line, a test."""


def parse_student(
    name: str,
    options: Mapping[str, Any],
    *,
    num_classes: int,
    in_channels: int,
    input_size: tuple[int, int],
    embedding_dim: int | None = None,
) -> ArchSpec:
    """The ArchSpec that ``name`` stands for.

    Args:
        name: ``resnet20``, ``resnet50``, ``timm:mobilevit_s`` or any bare timm name.
        options: Arguments of the architecture, for example ``{"width": 32}``.
        num_classes: ``K``.
        in_channels: ``C`` of the input.
        input_size: ``(H, W)``; some timm models are built for one size.
        embedding_dim: ``D`` of a network that answers embeddings; ``None`` for a classifier.

    Raises:
        ModelError: If no family knows the name or an option does not fit.
    """
    own = resnet.parse(name, options, num_classes=num_classes, in_channels=in_channels)
    if own is not None:
        return own.model_copy(update={"embedding_dim": embedding_dim})
    return timm_family.parse(
        name,
        options,
        num_classes=num_classes,
        in_channels=in_channels,
        input_size=input_size,
        embedding_dim=embedding_dim,
    )


def parse_student_for(
    name: str | None,
    options: Mapping[str, Any],
    *,
    inputs: Sequence[InputSpec],
    num_classes: int,
    embedding_dim: int | None = None,
) -> ArchSpec:
    """The ArchSpec that ``name`` stands for where the data have these inputs.

    Args:
        name: As :func:`parse_student`, or ``sensor``; ``None`` is ``sensor`` for anything but one
            image.
        options: Arguments of the architecture.
        inputs: Of the data.
        num_classes: ``K``.
        embedding_dim: ``D`` of a network that answers embeddings; of one image only.

    Raises:
        ModelError: If no student is named for images, the name is unknown, an option does not fit,
            or the student does not take such inputs.
    """
    chosen = student_name(name, inputs)
    own = sensor.parse(chosen, options, num_classes=num_classes, inputs=inputs)
    if own is not None:
        if embedding_dim is not None:
            raise ModelError("sensor: retrieval is for students of one image; choose a ResNet")
        return own
    channels, height, width = inputs[0].shape
    return parse_student(
        chosen,
        options,
        num_classes=num_classes,
        in_channels=channels,
        input_size=(height, width),
        embedding_dim=embedding_dim,
    )


def student_name(name: str | None, inputs: Sequence[InputSpec]) -> str:
    """Which student is meant where the data have these inputs.

    Args:
        name: As the user gave it; ``None`` is ``sensor`` for anything but one image.
        inputs: Of the data.

    Raises:
        ModelError: If none is named for images, or it does not take such inputs.
    """
    several = sensor.is_for(inputs)
    if name is None and not several:
        raise ModelError("no student named: give --model, for example resnet20")
    if name is not None and name != sensor.FAMILY and several:
        images = any(isinstance(spec, ImageInput) for spec in inputs)
        alone = ", or take the images alone with --modalities image" if images else ""
        raise ModelError(
            f"{name}: takes one image, the data have {', '.join(spec.name for spec in inputs)}; "
            f"leave --student out for a student of sensors{alone}"
        )
    return name or sensor.FAMILY


def build_student(arch: ArchSpec) -> nn.Module:
    """A freshly initialised module: normalised float ``(B, C, H, W) -> (B, K)`` logits.

    A student of sensors takes one tensor per input, ``(B, C, T)`` of each sensor.

    Where ``arch`` has an ``embedding_dim`` it is an
    :class:`~edgekd.students.head.EmbeddingNetwork`, which answers ``(B, D)``.

    Raises:
        ModelError: If the family is unknown or its arguments do not build.
    """
    family = FAMILIES.get(arch.family)
    if family is None:
        raise ModelError(
            f"student family {arch.family!r} is unknown; this edgekd has {sorted(FAMILIES)}"
        )
    module: nn.Module = _pruned(family, arch) if arch.merged else family.build(arch)
    if arch.embedding_dim is None:
        return module
    width: int = family.num_features(module)
    return EmbeddingNetwork(module, num_features=width, embedding_dim=arch.embedding_dim)


def _pruned(family: ModuleType, arch: ArchSpec) -> nn.Module:
    full = arch.model_copy(update={"widths": None, "merged": False})
    return with_widths(family.build(full), arch.widths or ())


def load_student(folder: Path) -> tuple[StudentBundle, nn.Module]:
    """A verified bundle's record and its module, in eval mode.

    Raises:
        BundleError: If the bundle is damaged or its weights do not fit its architecture.
    """
    record = read_bundle(folder)
    try:
        module = build_student(record.arch)
        tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
        module.load_state_dict(tensors, strict=True)
    except (ModelError, RuntimeError, safetensors.SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(
            f"{folder}: weights and architecture do not fit ({reason}); make the bundle again"
        ) from error
    return record, module.eval()


def load_teaching_network(folder: Path) -> tuple[StudentBundle, IdentityNetwork]:
    """A verified retrieval bundle's record and its network with the classifier it was taught by.

    Raises:
        BundleError: If the bundle is damaged, or its ``training_head.safetensors`` is missing,
            altered or of another network.
        ModelError: If the bundle is not of an embedding network.
    """
    record, network = load_student(folder)
    if not isinstance(network, EmbeddingNetwork):
        raise ModelError(f"{folder}: a bundle for {record.task}; expected one for retrieval")
    content = read_training_head(folder, record)
    try:
        full = with_classifier(network, safetensors.torch.load(content))
    except (safetensors.SafetensorError, ValueError) as error:
        raise BundleError(
            f"{folder}: its training head does not fit ({error}); make the bundle again"
        ) from error
    return record, full.eval()
