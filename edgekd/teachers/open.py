"""The table of teacher kinds, and the way from ``--teacher`` to a teacher."""

from pathlib import Path
from types import ModuleType
from typing import Final

from edgekd.console import Console, SilentConsole
from edgekd.errors import ModelError
from edgekd.records import InputSpec, Preprocess, Task
from edgekd.students.weights import refuse_pickle
from edgekd.teachers import bundle_folder, exported_program, keras_model, onnx_model, timm_model
from edgekd.teachers.normalisation import split_options
from edgekd.teachers.protocol import Capability, LayerChoice, Teacher
from edgekd.teachers.request import TeacherRequest, no_layers

KINDS: Final[dict[str, ModuleType]] = {
    "timm": timm_model,
    "bundle": bundle_folder,
    "torch-export": exported_program,
    "onnx": onnx_model,
    "keras": keras_model,
}
"""Kind -> module with ``matches`` and ``open_source``. To add one: its file, a line, a test."""

_KNOWN: Final = (
    "an edgekd bundle, timm:NAME@weights.safetensors, a .pt2, .onnx or .keras file, "
    "or a SavedModel folder"
)


def open_teacher(
    source: str,
    *,
    preprocess: Preprocess,
    class_names: tuple[str, ...],
    pretrained: bool,
    needs: frozenset[Capability],
    console: Console,
    layers: LayerChoice = no_layers,
) -> Teacher:
    """Open, freeze and check a teacher before any training starts.

    Args:
        source: A bundle folder, ``timm:NAME[@weights.safetensors]``, a ``.pt2``, ``.onnx`` or
            ``.keras`` file, or a SavedModel folder. A file of another tool may carry its
            normalisation: ``net.onnx#mean=0.5#std=0.25``, of pixels in [0, 1], one value or one
            per channel separated by commas.
        preprocess: The student's; a file without a record of its own gets its normalisation. Only
            bundles answer anything but one image.
        class_names: The data's, in the order of its labels.
        pretrained: Whether published weights of timm may be fetched.
        needs: What the method needs; with ``embedding`` the teacher has to be one for retrieval.
        console: Where notes go.
        layers: Chooses the layers whose outputs are ``pooled``, where that is needed.

    Raises:
        ModelError: If the source is of no known kind, does not fit the data, or cannot give what
            is needed.
        BundleError: If a file is damaged.
        MissingExtraError: If a kind needs a package that is not installed.
    """
    request = _parse(
        source,
        inputs=preprocess.inputs,
        class_names=class_names,
        pretrained=pretrained,
        needs=needs,
        console=console,
        layers=layers,
    )
    if not bundle_folder.matches(request):
        request.one_image()  # of a sensor's windows no other kind knows anything
    kind = _kind_of(request)
    teacher: Teacher = kind.open_source(request)
    request.check_num_classes(teacher.num_classes)
    missing = needs - teacher.gives
    if missing:
        raise ModelError(
            f"teacher {source}: gives {', '.join(sorted(teacher.gives))}, and the method also "
            f"needs {', '.join(sorted(missing))}; choose another method or teacher"
        )
    return teacher


def check_teacher(source: str, *, task: Task, pretrained: bool) -> None:
    """Refuse a source that cannot teach whatever the data are; the others are opened later.

    Args:
        source: As for :func:`open_teacher`.
        task: Of the student; for retrieval the teacher has to be a bundle.
        pretrained: Whether published weights of timm may be fetched.

    Raises:
        ModelError: If nothing is there, it is of no known kind, or of another task.
        BundleError: If a bundle or a weights file is damaged.
    """
    request = _parse(
        source,
        inputs=(),
        class_names=(),
        pretrained=pretrained,
        needs=frozenset({"embedding"} if task == "retrieval" else ()),
        console=SilentConsole(),
        layers=no_layers,
    )
    kind = _kind_of(request)
    if kind in (bundle_folder, timm_model):
        kind.check(request)


def _kind_of(request: TeacherRequest) -> ModuleType:
    kind = next((module for module in KINDS.values() if module.matches(request)), None)
    if kind is None:
        raise _unknown(request)
    if "embedding" in request.needs and kind is not bundle_folder:
        raise ModelError(
            f"teacher {request.source}: gives no embedding; for retrieval give the folder of "
            "edgekd teach --task retrieval"
        )
    return kind


def _parse(
    source: str,
    *,
    inputs: tuple[InputSpec, ...],
    class_names: tuple[str, ...],
    pretrained: bool,
    needs: frozenset[Capability],
    console: Console,
    layers: LayerChoice,
) -> TeacherRequest:
    location, options = split_options(source)
    return TeacherRequest(
        source=source,
        location=location,
        options=options,
        inputs=inputs,
        class_names=class_names,
        pretrained=pretrained,
        needs=needs,
        console=console,
        layers=layers,
    )


def _unknown(request: TeacherRequest) -> ModelError:
    path = Path(request.location)
    refuse_pickle(path)
    if not path.exists():
        return ModelError(
            f"teacher {request.source}: no such file or folder; expected {_KNOWN} "
            f"(a timm architecture is written timm:{path.name})"
        )
    return ModelError(f"teacher {request.source}: of no known kind; expected {_KNOWN}")
