"""ONNX through torch's dynamo exporter, simplified only where the simpler graph says the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.errors import ExportError
from edgekd.export.quiet import quiet_converter
from edgekd.export.subprocesses import run_converter
from edgekd.runtimes.session import Arrays

OUTPUT_NAME: Final = "logits"
BATCH_AXIS: Final = "batch"

_OPSET: Final = 20  # the first with Gelu as one operator; LayerNormalization is one since 17
_PORT: Final = "edgekd_port_{}"
_TRACED_BATCH: Final = 2  # with 1 the exporter would take the batch axis for a constant
_CHECKED_BATCHES: Final = (1, 3)
_SIMPLIFIED_TOLERANCE: Final = 1e-5  # relative; a re-ordered sum in float32 stays below it


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """A checked model and what happened on the way."""

    model: onnx.ModelProto
    notes: tuple[str, ...]


def export_onnx(
    deployed: nn.Module,
    samples: Mapping[str, Tensor],
    *,
    simplify: bool,
    work: Path,
    output_name: str = OUTPUT_NAME,
    any_batch: bool = True,
) -> OnnxExport:
    """Trace a module into an ONNX model.

    Args:
        deployed: In eval mode; positional inputs to ``(B, K)`` logits or ``(B, D)`` embeddings.
        samples: Input name to a batch of one, in order of the module's arguments.
        simplify: Try onnxsim, and keep its graph if its outputs are the same.
        work: Scratch folder.
        output_name: What the answer is called in the file.
        any_batch: Whether the batch axis is dynamic; else it is one.

    Raises:
        ExportError: If the exporter fails or its model is not valid ONNX.
    """
    model = _trace(deployed, samples, output_name, any_batch=any_batch)
    _strip_traces(model)
    _check(model)
    if not simplify:
        return OnnxExport(model=model, notes=())
    batches = _CHECKED_BATCHES if any_batch else (1,)
    simpler, note = _simplify(model, samples, work, batches)
    return OnnxExport(model=simpler, notes=(note,))


def run_onnx(model: onnx.ModelProto, feeds: Arrays) -> NDArray[np.float32]:
    """The first output of a model in memory, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    output: NDArray[np.float32] = session.run(None, dict(feeds))[0]
    return output


def _trace(
    deployed: nn.Module, samples: Mapping[str, Tensor], output_name: str, *, any_batch: bool
) -> onnx.ModelProto:
    rows = _TRACED_BATCH if any_batch else 1
    # The graph's own values have names as well ("linear"), and a sensor may be called the same.
    ports = {_PORT.format(number): name for number, name in enumerate((*samples, output_name))}
    inputs = tuple(x.expand(rows, *x.shape[1:]).contiguous() for x in samples.values())
    batch = torch.export.Dim(BATCH_AXIS, min=1)
    # Deployed.forward(*inputs): one tuple of shapes for the one variadic argument
    shapes = (tuple({0: batch} for _ in inputs),) if any_batch else None
    try:
        with quiet_converter():
            program = torch.onnx.export(
                deployed,
                inputs,
                dynamo=True,
                input_names=list(ports)[:-1],
                output_names=list(ports)[-1:],
                dynamic_shapes=shapes,
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises types of many packages
        raise ExportError(
            f"torch cannot export the student to ONNX: {_first_line(error)}"
        ) from error
    if program is None:
        raise ExportError("torch's ONNX exporter returned nothing; expected a program")
    model: onnx.ModelProto = program.model_proto
    _rename(model.graph, ports)
    return model


def _rename(graph: onnx.GraphProto, ports: Mapping[str, str]) -> None:
    """Give ports their names; values that are called so already give way."""
    names = {**{name: f"{name}/value" for name in ports.values()}, **ports}
    values: list[Any] = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for value in values:
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _strip_traces(model: onnx.ModelProto) -> None:
    """Drop the exporter's stack traces: paths of this machine have no place in a shipped file."""
    graph = model.graph
    del graph.metadata_props[:]
    items: list[Any] = [*graph.node, *graph.value_info, *graph.initializer]
    for item in (*items, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.ClearField("doc_string")


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"torch exported invalid ONNX: {_first_line(error)}") from error


def _simplify(
    model: onnx.ModelProto,
    samples: Mapping[str, Tensor],
    work: Path,
    batches: Sequence[int] = _CHECKED_BATCHES,
) -> tuple[onnx.ModelProto, str]:
    """The simplified model if it is as good, else the model as it was; and a note which."""
    before, after = work / "traced.onnx", work / "simplified.onnx"
    onnx.save(model, before)
    job = {"input": str(before), "output": str(after)}
    try:
        run_converter("edgekd.export.onnx_simplifier", job, work, purpose="simplify the graph")
        simpler = onnx.load(after)
        onnx.checker.check_model(simpler, full_check=True)
        problem = _difference(model, simpler, samples, batches)
    except Exception as error:  # whatever goes wrong in a simplifier, the original is still good
        problem = _first_line(error)
    if problem:
        return model, f"onnxsim's graph was not taken: {problem}"
    traced, left = len(model.graph.node), len(simpler.graph.node)
    if left == traced:
        return simpler, f"onnxsim has left all {traced} nodes"
    return simpler, f"simplified with onnxsim: {traced} -> {left} nodes"


def _difference(
    model: onnx.ModelProto,
    simpler: onnx.ModelProto,
    samples: Mapping[str, Tensor],
    batches: Sequence[int],
) -> str:
    """What the simplified model does differently, or an empty string."""
    generator = np.random.default_rng(0)
    for batch in batches:
        feeds = _random_feeds(samples, batch, generator)
        expected, found = run_onnx(model, feeds), run_onnx(simpler, feeds)
        if found.shape != expected.shape:
            return f"at batch {batch} its output is {found.shape} instead of {expected.shape}"
        error = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        if not error <= _SIMPLIFIED_TOLERANCE:
            return f"at batch {batch} its logits differ by {error:.1e}"
    return ""


def _random_feeds(
    samples: Mapping[str, Tensor], batch: int, generator: np.random.Generator
) -> dict[str, NDArray[Any]]:
    feeds: dict[str, NDArray[Any]] = {}
    for name, sample in samples.items():
        shape = (batch, *sample.shape[1:])
        if sample.dtype == torch.uint8:
            feeds[name] = generator.integers(0, 256, shape, dtype=np.uint8)
        else:
            feeds[name] = generator.standard_normal(shape, dtype=np.float32)
    return feeds


def _first_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
