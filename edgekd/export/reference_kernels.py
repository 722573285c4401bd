"""Does a TFLite file's fast runtime answer like the plain kernels that define its operators?

LiteRT computes with XNNPACK; the reference kernels are those of TensorFlow's own interpreter, which
shares no compiled code with it. TensorFlow is an extra and takes seconds to import: it runs in a
process of its own, and where it is missing the record says that nothing was compared.
"""

import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.export.quantization.candidates import signal_to_noise
from edgekd.export.subprocesses import run_converter
from edgekd.export.tflite_schema import operator_name, read_tflite
from edgekd.records import ReferenceCheck
from edgekd.runtimes.session import Session

LEAST_SHARE: Final = 0.999
"""Of the answers within one step; of a file in which less agree the console speaks."""

_WORKER: Final = "edgekd.export.reference_worker"
_SAMPLES: Final = 4  # reference kernels are a hundred times slower
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
        reason = "tensorflow is not installed: pip install 'edgekd[tensorflow]'"
        return not_made("tensorflow", reason), None
    runtime = f"tensorflow {metadata.version('tensorflow')}, reference kernels"
    rows = range(min(_SAMPLES, len(samples[0])))
    feeds = [session.encode([values[row : row + 1] for values in samples]) for row in rows]
    found = np.concatenate([session.decode(session.invoke(feed)) for feed in feeds])
    try:
        answers = _in_tensorflow(path, feeds, work)
    except ExportError as error:
        return not_made(runtime, str(error).splitlines()[-1].strip()), None
    expected = np.concatenate([session.decode([answer[None]]) for answer in answers])
    step = output_step(path)
    check = ReferenceCheck(
        runtime=runtime,
        share=within_one_step(found, expected, step=step),
        step=step,
        num_samples=len(rows),
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


def _in_tensorflow(
    path: Path, feeds: Sequence[dict[str, NDArray[Any]]], work: Path
) -> NDArray[Any]:
    folder = work / f"{path.name}.reference"
    folder.mkdir(exist_ok=True)
    names = list(feeds[0])
    inputs = {str(i): np.stack([feed[name] for feed in feeds]) for i, name in enumerate(names)}
    np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # its stub knows one keyword
    job = {
        "model": str(path),
        "inputs": str(folder / "inputs.npz"),
        "names": names,
        "outputs": str(folder / "outputs.npy"),
    }
    run_converter(_WORKER, job, folder, purpose="run the file with TensorFlow's reference kernels")
    answers: NDArray[Any] = np.load(folder / "outputs.npy", allow_pickle=False)
    return answers
