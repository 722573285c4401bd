"""A teacher that edgekd trained: the output folder of ``edgekd teach`` or ``edgekd distill``."""

from torch import nn

from edgekd.bundle import is_bundle, read_bundle
from edgekd.errors import ModelError
from edgekd.records import ImageInput, StudentBundle, TeacherRef
from edgekd.students.build import load_student, load_teaching_network
from edgekd.teachers.encode import ViewEncoder
from edgekd.teachers.module import ModuleTeacher
from edgekd.teachers.request import TeacherRequest


def matches(request: TeacherRequest) -> bool:
    """Whether the source is a folder that claims to be a bundle."""
    return is_bundle(request.path)


def open_source(request: TeacherRequest) -> ModuleTeacher:
    """The bundle's network, verified, behind its own preprocessing.

    For retrieval it comes with the classifier of its training identities, which must be the data's.

    Raises:
        BundleError: If the bundle is damaged, or lacks the classifier that retrieval needs.
        ModelError: If it was taught another task, its labels are not the data's, or it does not
            take one image.
    """
    request.refuse_options()
    record, module = _load(request)
    request.check_labels(record.labels)
    inputs = record.preprocess.inputs
    if len(inputs) != 1 or not isinstance(inputs[0], ImageInput):
        raise ModelError(
            f"teacher {request.source}: takes {', '.join(i.name for i in inputs)}, "
            "the data has images; choose a teacher of images"
        )
    return ModuleTeacher(
        module,
        ref=TeacherRef(
            source=request.source,
            kind="bundle",
            sha256=record.weights_sha256,
            num_params=record.num_params,
            macs=record.macs,
        ),
        encoder=ViewEncoder.of(inputs[0]),
        num_classes=len(record.labels),
        needs=request.needs,
        layers=request.layers(module),
    )


def _load(request: TeacherRequest) -> tuple[StudentBundle, nn.Module]:
    wanted = "retrieval" if "embedding" in request.needs else "classification"
    task = read_bundle(request.path).task
    if task != wanted:
        raise ModelError(
            f"teacher {request.source}: was taught {task}, the student learns {wanted}; teach one "
            f"with edgekd teach --task {wanted}, or change --task"
        )
    if task == "retrieval":
        return load_teaching_network(request.path)
    return load_student(request.path)
