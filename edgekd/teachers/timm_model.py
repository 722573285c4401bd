"""A timm architecture as a teacher: ``timm:NAME@weights.safetensors`` or published weights."""

from pathlib import Path
from typing import Final

from torch import nn

from edgekd.bundle import sha256_of
from edgekd.errors import ModelError
from edgekd.records import TeacherRef
from edgekd.students import timm_family
from edgekd.students.count import count_cost
from edgekd.students.timm_weights import ends_of
from edgekd.students.weights import load_weights, read_weights
from edgekd.teachers.encode import InputsEncoder, ViewEncoder
from edgekd.teachers.module import ModuleTeacher
from edgekd.teachers.request import TeacherRequest

_PREFIX: Final = "timm:"


def matches(request: TeacherRequest) -> bool:
    """Whether the source starts with ``timm:``."""
    return request.location.startswith(_PREFIX)


def check(request: TeacherRequest) -> None:
    """Refuse what is no teacher whatever the data are; nothing is fetched.

    Raises:
        ModelError: If the name is unknown, or there are no weights.
        BundleError: If the weights file is missing or damaged.
    """
    request.refuse_options()
    name, at, file = request.location.partition("@")
    name = timm_family.known_name(name)
    if at:
        read_weights(Path(file))
    elif not request.pretrained:
        raise _untrained(name, request)


def open_source(request: TeacherRequest) -> ModuleTeacher:
    """The architecture with its weights, behind the preprocessing timm publishes for it.

    Raises:
        ModelError: If the name is unknown, there are no weights, or they do not fit the
            architecture or the data's classes.
        BundleError: If the weights file is damaged.
    """
    request.refuse_options()
    name, at, file = request.location.partition("@")
    name = timm_family.known_name(name)
    mean, std, size = timm_family.timm_preprocess(name)
    if at:
        module, channels = _from_file(name, Path(file), size, request)
    elif request.pretrained:
        module, channels = _from_timm(name, size, request)
    else:
        raise _untrained(name, request)
    cost = count_cost(module, [(channels, *size)])
    encoder = ViewEncoder(channels=len(mean), size=size, mean=mean, std=std)
    return ModuleTeacher(
        module,
        ref=TeacherRef(
            source=request.source,
            kind="timm",
            sha256=sha256_of(Path(file)) if at else None,  # the tag in the name says which
            num_params=cost.num_params,
            macs=cost.macs,
        ),
        encoder=InputsEncoder.of_image(encoder.for_channels(channels)),
        num_classes=len(request.class_names),
        needs=request.needs,
        layers=request.layers(module),
    )


def _untrained(name: str, request: TeacherRequest) -> ModelError:
    return ModelError(
        f"teacher {request.source}: untrained, it has nothing to teach; give "
        f"timm:{name}@weights.safetensors, or --pretrained for the published weights"
    )


def _from_file(
    name: str, path: Path, size: tuple[int, int], request: TeacherRequest
) -> tuple[nn.Module, int]:
    """The module, and its input channels as the weights file has them."""
    ends = ends_of(name, path)
    if ends.num_classes is not None:
        request.check_num_classes(ends.num_classes)
    arch = timm_family.parse(
        name,
        {},
        num_classes=len(request.class_names),
        in_channels=ends.in_channels,
        input_size=size,
    )
    module = timm_family.build(arch)
    load_weights(module, path, console=request.console)
    return module, ends.in_channels


def _from_timm(name: str, size: tuple[int, int], request: TeacherRequest) -> tuple[nn.Module, int]:
    num_classes = timm_family.published(name).num_classes
    request.check_num_classes(num_classes)  # before anything is fetched
    arch = timm_family.parse(name, {}, num_classes=num_classes, in_channels=3, input_size=size)
    return timm_family.build(arch, pretrained=True), 3
