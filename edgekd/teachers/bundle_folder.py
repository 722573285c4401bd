"""A teacher that edgekd trained: the output folder of ``edgekd teach`` or ``edgekd distill``."""

from collections.abc import Sequence

from torch import nn

from edgekd.bundle import is_run, read_bundle
from edgekd.errors import ModelError
from edgekd.records import ImageInput, InputSpec, SignalInput, StudentBundle, TeacherRef
from edgekd.students.build import load_student, load_teaching_network
from edgekd.teachers.encode import InputsEncoder, SignalEncoder, ViewEncoder
from edgekd.teachers.module import ModuleTeacher
from edgekd.teachers.request import TeacherRequest


def matches(request: TeacherRequest) -> bool:
    """Whether the source is the folder of a training."""
    return is_run(request.path)


def check(request: TeacherRequest) -> StudentBundle:
    """The bundle's record, if it is whole and was taught the student's task.

    Raises:
        BundleError: If the bundle is damaged.
        ModelError: If it was taught another task.
    """
    request.refuse_options()
    record = read_bundle(request.path)
    wanted = "retrieval" if "embedding" in request.needs else "classification"
    if record.task != wanted:
        raise ModelError(
            f"teacher {request.source}: was taught {record.task}, the student learns {wanted}; "
            f"teach one with edgekd teach --task {wanted}, or change --task"
        )
    return record


def open_source(request: TeacherRequest) -> ModuleTeacher:
    """The bundle's network, verified, behind its own preprocessing.

    For retrieval it comes with the classifier of its training identities, which must be the data's.

    Raises:
        BundleError: If the bundle is damaged, or lacks the classifier that retrieval needs.
        ModelError: If it was taught another task, its labels are not the data's, or it takes an
            input that the data do not have.
    """
    record, module = _load(request)
    encoder = _encoder(record.preprocess.inputs, request)  # of other inputs are other classes, too
    request.check_labels(record.labels)
    return ModuleTeacher(
        module,
        ref=TeacherRef(
            source=request.source,
            kind="bundle",
            sha256=record.weights_sha256,
            num_params=record.num_params,
            macs=record.macs,
        ),
        encoder=encoder,
        num_classes=len(record.labels),
        needs=request.needs,
        layers=request.layers(module),
    )


def _encoder(inputs: Sequence[InputSpec], request: TeacherRequest) -> InputsEncoder:
    """What of the data goes where; a teacher may take less than there is, images at any size."""
    return InputsEncoder(parts=tuple(_part(spec, request) for spec in inputs))


def _part(spec: InputSpec, request: TeacherRequest) -> tuple[int, ViewEncoder | SignalEncoder]:
    for place, found in enumerate(request.inputs):
        if isinstance(spec, ImageInput) and isinstance(found, ImageInput):
            return place, ViewEncoder.of(spec)
        if isinstance(spec, SignalInput) and (found.name, found.shape) == (spec.name, spec.shape):
            return place, SignalEncoder(spec=spec)
    there = ", ".join(_described(found) for found in request.inputs)
    raise ModelError(
        f"teacher {request.source}: takes {_described(spec)}, the data have {there}; choose a "
        "teacher of such data"
    )


def _described(spec: InputSpec) -> str:
    return f"{spec.kind} {spec.name} {'x'.join(str(size) for size in spec.shape)}"


def _load(request: TeacherRequest) -> tuple[StudentBundle, nn.Module]:
    if check(request).task == "retrieval":
        return load_teaching_network(request.path)
    return load_student(request.path)
