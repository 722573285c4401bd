"""Does a TFLite file's fast runtime answer like the plain kernels that define its operators?

LiteRT computes with XNNPACK; the reference kernels are those of TensorFlow's own interpreter, which
shares no compiled code with it. They are compared operator by operator on equal inputs, which is
what can be asked of them, and from end to end, where their roundings add up. TensorFlow is an extra
and takes seconds to import: it runs in a process of its own, and where it is missing the record
says that nothing was compared.
"""

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.export.quantization.candidates import signal_to_noise
from edgekd.export.single_operators import TakenApart, Values, compare_operators, take_apart
from edgekd.export.subprocesses import run_converter
from edgekd.export.tflite_schema import operator_name, read_tflite
from edgekd.records import OperatorCheck, ReferenceCheck
from edgekd.runtimes.session import Session

LEAST_SHARE: Final = 0.999
"""Of what single operators compute, within one step; where less agrees a file is refused."""

_WORKER: Final = "edgekd.export.reference_worker"
_SAMPLES: Final = 4  # reference kernels are a hundred times slower
_SECONDS: Final = 10.0  # of theirs, after which they begin no other sample
_STEPS: Final = 255  # 8-bit steps over the largest answer, where the file ends in float


def compare_kernels(
    path: Path, session: Session, samples: Sequence[NDArray[Any]], work: Path
) -> tuple[ReferenceCheck, float | None]:
    """Run a file with both kinds of kernels and say how well they agree.

    Args:
        path: A ``.tflite`` file.
        session: The same file, open, with its encodings.
        samples: Decoded, one array per input; the first few are run.
        work: Scratch folder.

    Returns:
        The check, and the SQNR in dB of the fast kernels' answers against the others'; ``None``
        where TensorFlow is missing or cannot run the file.
    """
    if importlib.util.find_spec("tensorflow") is None:
        missing = "tensorflow is not installed: pip install 'edgekd[tensorflow]'"
        return not_made("tensorflow", missing), None
    runtime = f"tensorflow {metadata.version('tensorflow')}, reference kernels"
    rows = range(min(_SAMPLES, len(samples[0])))
    feeds = [session.encode([values[row : row + 1] for values in samples]) for row in rows]
    apart = take_apart(path)
    try:
        answered = _in_tensorflow(path, feeds, apart.tensors, work)
    except ExportError as error:
        return not_made(runtime, _last_line(error)), None
    expected = np.concatenate([session.decode([answer[None]]) for answer in answered.answers])
    found = np.concatenate(
        [session.decode(session.invoke(feed)) for feed in feeds[: len(expected)]]
    )
    operators, reason = _one_by_one(apart, answered.values)
    step = output_step(path)
    check = ReferenceCheck(
        runtime=runtime,
        share=within_one_step(found, expected, step=step),
        step=step,
        num_samples=len(expected),
        operators=operators,
        reason=reason,
    )
    return check, signal_to_noise(expected, found)


def not_made(runtime: str, reason: str) -> ReferenceCheck:
    """The record of a comparison that did not take place."""
    return ReferenceCheck(runtime=runtime, share=None, step=None, num_samples=0, reason=reason)


def output_step(path: Path) -> float | None:
    """Scale of the 8-bit tensor that a file's first output is made from; ``None`` of a float one.

    Raises:
        BundleError: If the file is damaged.
    """
    model = read_tflite(path)
    graph = model.subgraphs[0]
    output = graph.outputs[0]
    for op in graph.operators:
        if operator_name(model, op) == "DEQUANTIZE" and op.outputs[0] == output:
            output = op.inputs[0]
    parameters = graph.tensors[output].quantization
    if parameters is None or parameters.scale is None or not len(parameters.scale):
        return None
    return float(parameters.scale[0])


def within_one_step(
    found: NDArray[Any], expected: NDArray[Any], *, step: float | None = None
) -> float:
    """Share of values that differ by at most one step of the output scale.

    Args:
        found: Answers.
        expected: Answers, of the same shape.
        step: The scale; ``None`` for a 255th of the largest expected answer.

    >>> within_one_step(np.float32([0.0, 254.0]), np.float32([1.5, 255.0]))
    0.5
    >>> within_one_step(np.float32([0.0, 254.0]), np.float32([1.5, 255.0]), step=2.0)
    1.0
    """
    if step is None:
        step = float(np.abs(expected).max()) / _STEPS
    # a step itself is computed in float32, from values that are many steps
    slack = 1e-6 * float(np.abs(expected).max()) + 1e-12
    return float((np.abs(found.astype(np.float64) - expected) <= step + slack).mean())


def _one_by_one(apart: TakenApart, values: Values) -> tuple[OperatorCheck | None, str | None]:
    """The comparison of single operators, or why there is none; neither without int8 operators."""
    if not apart.operators:
        return None, None
    try:
        return compare_operators(apart, values), None
    except ExportError as error:
        return None, _last_line(error)


class _Answered(NamedTuple):
    """What the reference kernels computed.

    Attributes:
        answers: ``(n, ...)``, of the samples for which there was time.
        values: Of the tensors that were asked for, ``(n, 1, ...)`` each.
    """

    answers: NDArray[Any]
    values: Values


def _in_tensorflow(
    path: Path, feeds: Sequence[dict[str, NDArray[Any]]], tensors: Sequence[int], work: Path
) -> _Answered:
    folder = work / f"{path.name}.reference"
    folder.mkdir(exist_ok=True)
    names = list(feeds[0])
    inputs = {str(i): np.stack([feed[name] for feed in feeds]) for i, name in enumerate(names)}
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # its stub knows one keyword
    job = {
        "model": str(path),
        "inputs": str(folder / "inputs.npz"),
        "names": names,
        "tensors": list(tensors),
        "seconds": _SECONDS,
        "outputs": str(folder / "outputs.npy"),
        "values": str(folder / "values.npz"),
    }
    run_converter(_WORKER, job, folder, purpose="run the file with TensorFlow's reference kernels")
    answers: NDArray[Any] = np.load(folder / "outputs.npy", allow_pickle=False)
    with np.load(folder / "values.npz", allow_pickle=False) as file:
        values = {int(name): file[name] for name in file.files}
    return _Answered(answers=answers, values=values)


def _last_line(error: ExportError) -> str:
    return str(error).splitlines()[-1].strip()
