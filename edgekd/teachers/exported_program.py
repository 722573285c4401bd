"""A torch.export program (``.pt2``) as a teacher."""

from edgekd.bundle import sha256_of
from edgekd.errors import ModelError
from edgekd.records import TeacherRef
from edgekd.teachers.file import FileTeacher, Network, input_encoder
from edgekd.teachers.program import load_program, only_tensor
from edgekd.teachers.request import TeacherRequest


def matches(request: TeacherRequest) -> bool:
    """Whether the source is a ``.pt2`` file."""
    return request.path.suffix == ".pt2" and request.path.is_file()


def open_source(request: TeacherRequest) -> FileTeacher:
    """The program in ``request.path``: one float input ``(B, C, H, W)``, one output ``(B, K)``.

    Raises:
        BundleError: If the file is not a saved program.
        ModelError: If it holds anything that could run code, or takes or answers anything else.
    """
    path = request.path
    program = load_program(path)
    batch, channels, *size = program.shape
    if channels is None:
        raise ModelError(f"teacher {path}: its channels are dynamic; export it for 1 or 3 channels")
    fixed = tuple(size) if None not in size else None
    network = Network(
        run=lambda x: only_tensor(program.module(x), path),
        encoder=input_encoder(request, channels=channels, size=fixed),  # type: ignore[arg-type]
        batch_size=batch,
        move=program.module.to,
    )
    ref = TeacherRef(
        source=request.source,
        kind="torch-export",
        sha256=sha256_of(path),
        num_params=sum(p.numel() for p in program.module.parameters()),
    )
    return FileTeacher(network, ref=ref, request=request)
