"""The process in which a Keras teacher runs: ``python -m edgekd.teachers.keras_worker PATH``.

Frames cross stdin and stdout: a length (uint32), a JSON object of that length, a length (uint64),
raw bytes of that length; all little-endian. The first frame out says what the network takes, or
why there is none; then each frame in is a batch ``(B, H, W, C)`` of float32 and is answered by one
frame ``(B, K)``. The process ends when its stdin does, so it never outlives its parent.
"""

import json
import os
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Predict = Callable[[Array], Array]

_HEADER_LIMIT: Final = 1 << 20
_FILE_OPERATORS: Final = ("WriteFile", "ReadFile", "WholeFile", "PyFunc", "EagerPyFunc")
"""Beginnings of TensorFlow operators that reach outside the graph."""


class Refused(Exception):  # noqa: N818 - an answer, sent to the parent as one
    """The network is well-formed and not what a teacher can be."""


def write_frame(pipe: IO[bytes] | None, header: Mapping[str, Any], payload: bytes = b"") -> None:
    """Send one frame.

    Raises:
        OSError: If nobody reads the pipe any more.
    """
    if pipe is None:
        raise OSError("there is no pipe")
    text = json.dumps(header).encode()
    pipe.write(struct.pack("<I", len(text)) + text + struct.pack("<Q", len(payload)))
    pipe.write(payload)
    pipe.flush()


def read_frame(pipe: IO[bytes] | None) -> tuple[dict[str, Any], bytes] | None:
    """Receive one frame; ``None`` where the other side has ended or does not speak frames."""
    if pipe is None:
        return None
    start = pipe.read(4)
    length = struct.unpack("<I", start)[0] if len(start) == 4 else _HEADER_LIMIT + 1
    if length > _HEADER_LIMIT:
        return None
    text, size = pipe.read(length), pipe.read(8)
    if len(text) != length or len(size) != 8:
        return None
    (expected,) = struct.unpack("<Q", size)
    payload = pipe.read(expected)
    return (json.loads(text), payload) if len(payload) == expected else None


def main() -> None:
    """Load the network named on the command line and answer until stdin ends."""
    # Anything TensorFlow prints must not reach the protocol: stdout becomes stderr.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        predict, hello = _load(Path(sys.argv[1]))
    except Refused as refusal:
        write_frame(answers, {"refused": str(refusal)})
        return
    except Exception as error:  # TensorFlow and Keras have no error of their own for damage
        write_frame(answers, {"damaged": _first_line(error)})
        return
    write_frame(answers, hello)
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        header, payload = frame
        try:
            logits = predict(np.frombuffer(payload, dtype="<f4").reshape(header["shape"]))
        except Exception as error:  # the parent decides; this batch has no answer
            write_frame(answers, {"error": _first_line(error)})
        else:
            write_frame(answers, {"shape": logits.shape}, logits.astype("<f4").tobytes())


def _load(path: Path) -> tuple[Predict, dict[str, Any]]:
    import tensorflow as tf

    num_threads = int(os.environ.get("EDGEKD_NUM_THREADS", "1"))
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return _load_saved_model(path) if path.is_dir() else _load_keras(path)


def _load_keras(path: Path) -> tuple[Predict, dict[str, Any]]:
    import keras
    import tensorflow as tf

    network = keras.models.load_model(path, compile=False, safe_mode=True)
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise Refused(
            f"has {len(network.inputs)} inputs and {len(network.outputs)} outputs; "
            "expected one image and its logits"
        )
    call = tf.function(lambda x: network(x, training=False), reduce_retracing=True)
    hello = {"input_shape": list(network.inputs[0].shape), "num_params": network.count_params()}
    return lambda x: np.asarray(call(tf.constant(x)), dtype=np.float32), hello


def _load_saved_model(path: Path) -> tuple[Predict, dict[str, Any]]:
    import tensorflow as tf

    _check_operators(path)
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise Refused("has no serving_default signature; save it with model.export(FOLDER)")
    named = signature.structured_input_signature[1]
    if len(named) != 1 or len(signature.structured_outputs) != 1:
        raise Refused(
            f"takes {sorted(named)} and answers {sorted(signature.structured_outputs)}; "
            "expected one image and its logits"
        )
    ((name, spec),) = named.items()
    (output,) = signature.structured_outputs

    def predict(x: Array) -> Array:
        answer = signature(**{name: tf.constant(x)})[output]
        return np.asarray(answer, dtype=np.float32)

    # keep what was loaded: the signature alone does not hold its variables
    predict.loaded = loaded  # type: ignore[attr-defined]
    return predict, {"input_shape": spec.shape.as_list()}


def _check_operators(path: Path) -> None:
    """Refuse operators that run Python or touch files, before anything of the graph runs."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        nodes = [
            *graph.node,
            *(n for function in graph.library.function for n in function.node_def),
        ]
        for node in nodes:
            if node.op.startswith(_FILE_OPERATORS):
                raise Refused(f"uses the operator {node.op}, which could run code or touch files")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    main()
