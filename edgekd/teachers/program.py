"""Loading a torch.export program (``.pt2``) of one image tensor, for teachers and for export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind, TensorArgument

from edgekd.errors import BundleError, ModelError
from edgekd.teachers.pt2_guard import clean_archive

_IMAGE_AXES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One tensor that a program answers.

    Attributes:
        name: As torch names the operator that makes it.
        shape: A string is a dynamic size, ``"batch"`` where it is that of the input.
        dtype: For example ``float32``.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A program that was cleaned and loaded.

    Attributes:
        module: One float ``(B, C, H, W)`` to whatever it answers; without gradients.
        shape: Of its input, ``None`` for a dynamic axis.
        answers: Its tensors in order; of answers that are none nothing.
    """

    module: nn.Module
    shape: tuple[int | None, ...]
    answers: tuple[Answer, ...]


def load_program(path: Path) -> Program:
    """The program in a ``.pt2`` file; nothing in it is run or unpickled to load it.

    Raises:
        BundleError: If the file is not a saved program, or damaged.
        ModelError: If it holds anything that could run code, takes anything but one tensor of four
            axes, or this torch cannot load it.
    """
    archive, program = clean_archive(path)
    try:
        shape = _input_shape(program, path)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BundleError(f"{path}: its inputs are damaged; export the program again") from error
    try:
        exported = torch.export.load(archive)
        module = exported.module(check_guards=False)  # the guards were dropped with the traces
        answers = _answers(exported)
    except Exception as error:  # torch has no error of its own for a damaged program
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot load it ({reason}); "
            "export it again with this version"
        ) from error
    return Program(module=module.requires_grad_(False), shape=shape, answers=answers)


def only_tensor(answer: object, path: Path) -> Tensor:
    """The one tensor of an answer, however it is wrapped.

    Raises:
        ModelError: If there are several.
    """
    while isinstance(answer, tuple | list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, dict) and len(answer) == 1:
        answer = next(iter(answer.values()))
    if not isinstance(answer, Tensor):
        raise ModelError(f"{path}: answers more than one tensor; export the logits alone")
    return answer


def _answers(exported: ExportedProgram) -> tuple[Answer, ...]:
    """What the program's signature says of its outputs."""
    values = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    batch = str(values[str(exported.graph_signature.user_inputs[0])].shape[0])
    return tuple(
        Answer(
            name=spec.arg.name,
            shape=tuple(_size(size, batch) for size in values[spec.arg.name].shape),
            dtype=str(values[spec.arg.name].dtype).removeprefix("torch."),
        )
        for spec in exported.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT and isinstance(spec.arg, TensorArgument)
    )


def _size(size: int | torch.SymInt, batch: str) -> int | str:
    if isinstance(size, int):
        return size
    return "batch" if str(size) == batch else str(size)


def _input_shape(program: dict[str, Any], path: Path) -> tuple[int | None, ...]:
    graph_module = program["graph_module"]
    inputs = [
        spec["user_input"]["arg"]
        for spec in graph_module["signature"]["input_specs"]
        if "user_input" in spec
    ]
    if len(inputs) != 1 or "as_tensor" not in inputs[0]:
        raise ModelError(f"{path}: takes {len(inputs)} inputs; expected one tensor")
    meta = graph_module["graph"]["tensor_values"][inputs[0]["as_tensor"]["name"]]
    shape = tuple(size.get("as_int") for size in meta["sizes"])
    if len(shape) != _IMAGE_AXES:
        raise ModelError(f"{path}: takes {len(shape)} axes; expected (B, C, H, W)")
    return shape
