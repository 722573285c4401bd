"""Do a TFLite file's fast kernels answer like the plain ones that define its operators?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgekd.errors import ParityError
from edgekd.export.quiet import quiet_stderr
from edgekd.records import Precision
from edgekd.runtimes.session import Session

_SAMPLES: Final = 2  # reference kernels are a hundred times slower
_STEPS: Final = 255  # 8-bit steps over the largest answer
_LEAST_SHARE: Final = 0.999


def compare_kernels(
    path: Path, session: Session, samples: Sequence[NDArray[Any]], precision: Precision
) -> str:
    """Run a file with both kinds of kernels and say how well they agree.

    Only a file of which every product is static is held to it: reference kernels quantize
    activations of dynamic products in a way of their own.

    Args:
        path: A ``.tflite`` file.
        session: The same file, open, with its encodings.
        samples: Decoded, one array per input; the first two are run.
        precision: Of the file.

    Returns:
        One sentence for the record.

    Raises:
        ParityError: If fewer than 99.9 % of a static file's answers are within one step of 8 bits.
    """
    found, expected = [], []
    with quiet_stderr():
        reference = Interpreter(
            model_path=str(path),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        )
        reference.allocate_tensors()
        indices = {d["name"]: d["index"] for d in reference.get_input_details()}
        output = reference.get_output_details()[0]["index"]
        for row in range(min(_SAMPLES, len(samples[0]))):
            feeds = session.encode([values[row : row + 1] for values in samples])
            found.append(session.decode(session.invoke(feeds)))
            for name, values in feeds.items():
                reference.set_tensor(indices[name], values)
            reference.invoke()
            expected.append(session.decode([reference.get_tensor(output)]))
    share = within_one_step(np.concatenate(found), np.concatenate(expected))
    if precision == "int8-static" and share < _LEAST_SHARE:
        raise ParityError(
            f"{path.name}: only {share:.1%} of its answers are within one 8-bit step of LiteRT's "
            "reference kernels; its fast kernels compute something else: take --int8 fast"
        )
    return f"{share:.1%} of the answers are within one 8-bit step of LiteRT's reference kernels"


def within_one_step(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Share of values that differ by at most a 255th of the largest expected one.

    >>> within_one_step(np.float32([0.0, 254.0]), np.float32([1.5, 255.0]))
    0.5
    """
    step = float(np.abs(expected).max()) / _STEPS
    return float((np.abs(found.astype(np.float64) - expected) <= step + 1e-12).mean())
