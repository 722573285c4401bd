"""``edgekd inspect`` on a model file or program: what it says itself, ours or anybody's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgekd.bundle import sha256_of
from edgekd.errors import BundleError
from edgekd.export.audit import audit_file
from edgekd.export.metadata import read_metadata
from edgekd.runtimes.session import format_of

if TYPE_CHECKING:
    from edgekd.students.count import Cost
    from edgekd.teachers.program import Program

_HALF_BYTES: Final = 2
_LOGITS_AXES: Final = 2


def describe(path: Path) -> dict[str, Any]:
    """JSON values that describe a ``.onnx`` or ``.tflite`` file, read without running it.

    Returns:
        ``file, format, sha256, size_bytes, precision, num_params, macs, int8_macs_share, inputs,
        outputs, audit, num_operators``, and where edgekd wrote the file also ``task, labels,
        preprocess, input_encoding, source_sha256, versions, provenance``. Parameters and MACs are
        the file's own, at batch size 1.

    Raises:
        BundleError: If the file is missing, damaged or altered.
        MissingExtraError: If the package that reads its format is not installed.
    """
    if not path.is_file():
        raise BundleError(f"{path}: no such file; expected a .onnx or .tflite file")
    facts = audit_file(path)
    inside = read_metadata(path)
    about: dict[str, Any] = {} if inside is None else inside.model_dump(mode="json", by_alias=True)
    about.pop("schema", None)
    return {
        "file": path.name,
        "format": format_of(path),
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
        "precision": facts.precision,
        "num_params": facts.num_params,
        "macs": facts.macs,
        "int8_macs_share": facts.audit.int8_macs_share,
        "inputs": [spec.model_dump(mode="json") for spec in facts.inputs],
        "outputs": [spec.model_dump(mode="json") for spec in facts.outputs],
        "audit": facts.audit.model_dump(mode="json"),
        "num_operators": facts.audit.num_operators,
        **about,
    }


def describe_program(path: Path) -> dict[str, Any]:
    """JSON values that describe a torch.export program; nothing is computed with it.

    Returns:
        ``file, format, sha256, size_bytes, precision, num_params, macs, uncounted_operators,
        inputs, outputs``. MACs are of one image; they and the operators that could not be counted
        are ``None`` where the program leaves its size open, or takes no batch of one.

    Raises:
        BundleError: If the file is not a saved program, or damaged.
        ModelError: If it could run code, or takes anything but one tensor of four axes.
    """
    from edgekd.teachers.program import load_program

    program = load_program(path)
    shape = [
        name if size is None else size
        for name, size in zip(("batch", "channels", "height", "width"), program.shape, strict=True)
    ]
    parameters = list(program.module.parameters())
    halves = any(parameter.itemsize == _HALF_BYTES for parameter in parameters)
    cost = _cost(program)
    return {
        "file": path.name,
        "format": "torch-export",
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
        "precision": "fp16" if halves else "fp32",
        "num_params": sum(parameter.numel() for parameter in parameters),
        "macs": None if cost is None else cost.macs,
        "uncounted_operators": None if cost is None else list(cost.uncounted_operators),
        "inputs": [
            {
                "name": "image",
                "shape": shape,
                "dtype": "float16" if halves else "float32",
                "layout": "NCHW",
            }
        ],
        "outputs": [
            {
                "name": answer.name,
                "shape": list(answer.shape),
                "dtype": answer.dtype,
                "layout": "NK" if len(answer.shape) == _LOGITS_AXES else "",
            }
            for answer in program.answers
        ],
    }


def _cost(program: "Program") -> "Cost | None":
    """What one image costs: shapes alone run through the program, its numbers are not read."""
    from torch import fx
    from torch._subclasses.fake_tensor import FakeTensorMode

    from edgekd.students.count import count_cost

    sides = tuple(size for size in program.shape[1:] if size is not None)
    if len(sides) < len(program.shape) - 1:
        return None
    graph: fx.Graph = program.module.graph  # type: ignore[assignment]
    graph.set_codegen(fx.graph.CodeGen())  # one tensor in, however the program packs it
    network = fx.GraphModule(program.module, graph)  # what torch loads refuses eval()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return count_cost(network, [sides])
    except Exception:  # of whatever kind: another batch is built in, or the program is damaged
        return None
