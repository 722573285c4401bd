"""A torch.export program (``.pt2``) as a teacher."""

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from edgekd.bundle import sha256_of
from edgekd.errors import ModelError
from edgekd.records import TeacherRef
from edgekd.teachers.file import FileTeacher, Network, input_encoder
from edgekd.teachers.pt2_guard import clean_archive
from edgekd.teachers.request import TeacherRequest

_IMAGE_AXES: Final = 4


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
    module, shape = _load(path)
    batch, channels, *size = shape
    if channels is None:
        raise ModelError(f"teacher {path}: its channels are dynamic; export it for 1 or 3 channels")
    fixed = tuple(size) if None not in size else None
    network = Network(
        run=lambda x: _only_tensor(module(x), path),
        encoder=input_encoder(request, channels=channels, size=fixed),  # type: ignore[arg-type]
        batch_size=batch,
        move=module.to,
    )
    ref = TeacherRef(
        source=request.source,
        kind="torch-export",
        sha256=sha256_of(path),
        num_params=sum(p.numel() for p in module.parameters()),
    )
    return FileTeacher(network, ref=ref, request=request)


def _load(path: Path) -> tuple[nn.Module, list[int | None]]:
    """The program as a module, and its input's shape with ``None`` for dynamic axes."""
    archive, program = clean_archive(path)
    shape = _input_shape(program, path)
    try:
        exported = torch.export.load(archive)
        module = exported.module(check_guards=False)  # the guards were dropped with the traces
    except Exception as error:  # torch has no error of its own for a damaged program
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"teacher {path}: torch {torch.__version__} cannot load it ({reason}); "
            "export it again with this version"
        ) from error
    return module.requires_grad_(False), shape


def _input_shape(program: dict[str, Any], path: Path) -> list[int | None]:
    graph_module = program["graph_module"]
    inputs = [
        spec["user_input"]["arg"]
        for spec in graph_module["signature"]["input_specs"]
        if "user_input" in spec
    ]
    if len(inputs) != 1 or "as_tensor" not in inputs[0]:
        raise ModelError(f"teacher {path}: takes {len(inputs)} inputs; expected one tensor")
    meta = graph_module["graph"]["tensor_values"][inputs[0]["as_tensor"]["name"]]
    shape = [size.get("as_int") for size in meta["sizes"]]
    if len(shape) != _IMAGE_AXES:
        raise ModelError(f"teacher {path}: takes {len(shape)} axes; expected (B, C, H, W)")
    return shape


def _only_tensor(answer: object, path: Path) -> Tensor:
    while isinstance(answer, tuple | list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict) and len(answer) == 1:
        answer = next(iter(answer.values()))
    if not isinstance(answer, Tensor):
        raise ModelError(f"teacher {path}: answers more than one tensor; export the logits alone")
    return answer
