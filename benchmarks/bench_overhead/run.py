"""What the runner adds to a call: its p50 against a bare loop around the runtime's own call.

    python -m benchmarks.bench_overhead.run runs/exported/*.onnx runs/exported/*.tflite

Both loops run in this process, on the same loaded model and input, in alternating blocks, so that
whatever else the machine does falls on both. A call leads from arrays to arrays in either runtime:
``InferenceSession.run``, and ``set_tensor``, ``invoke``, ``get_tensor`` for LiteRT, whose copies
any program pays. One JSON line per model goes to ``results.jsonl`` beside this file.
"""

import argparse
import gc
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from edgekd.devices.calls import time_calls
from edgekd.devices.probe import probe
from edgekd.devices.runner import batch_size
from edgekd.runtimes.random_inputs import random_feeds
from edgekd.runtimes.session import format_of, load_runtime, open_session

RESULTS = Path(__file__).with_name("results.jsonl")


def bare_onnx(path: Path, feeds: dict[str, Any], num_threads: int) -> Callable[[], Any]:
    """ONNX Runtime's own call, set up as edgekd sets it up."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, feeds)


def bare_tflite(path: Path, feeds: dict[str, Any], num_threads: int) -> Callable[[], Any]:
    """LiteRT's own calls for one input and one output."""
    interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
    interpreter.allocate_tensors()
    (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    value, source, target = feeds[image["name"]], image["index"], logits["index"]

    def call() -> Any:
        interpreter.set_tensor(source, value)
        interpreter.invoke()
        return interpreter.get_tensor(target)

    return call


def bare_loop(call: Callable[[], Any], num_calls: int) -> list[int]:
    """Times in ns by the shortest loop there is."""
    latencies = []
    for _ in range(num_calls):
        start = time.perf_counter_ns()
        call()
        latencies.append(time.perf_counter_ns() - start)
    return latencies


def compare(path: Path, *, num_threads: int, num_calls: int, num_blocks: int) -> dict[str, Any]:
    """Both p50 in ms, and the median over blocks of their ratio."""
    session = open_session(path, num_threads=num_threads)
    feeds = random_feeds(session.inputs, batch=batch_size(session), seed=0)
    ours = partial(session.invoke, feeds)
    bare = {"onnx": bare_onnx, "tflite": bare_tflite}[format_of(path)](path, feeds, num_threads)
    bare_loop(bare, num_calls)
    time_calls(ours, num_calls=num_calls, min_seconds=0)
    blocks = []
    for _ in range(num_blocks):
        blocks.append(
            (
                statistics.median(time_calls(ours, num_calls=num_calls, min_seconds=0)),
                statistics.median(bare_loop(bare, num_calls)),
            )
        )
    return {
        "file": path.name,
        "runtime_version": load_runtime(format_of(path)).version(),
        "num_threads": num_threads,
        "num_calls": num_calls,
        "runner_p50_ms": statistics.median(ours for ours, _ in blocks) / 1e6,
        "bare_p50_ms": statistics.median(bare for _, bare in blocks) / 1e6,
        "ratio": statistics.median(ours / bare for ours, bare in blocks),
        "blocks_ns": blocks,
    }


def main() -> None:
    """Compare every path of the command line and append a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calls", type=int, default=200, help="calls per block")
    parser.add_argument("--blocks", type=int, default=11)
    arguments = parser.parse_args()
    gc.disable()
    machine = {"python": platform.python_version(), "cpu": probe()["cpu"]}
    for path in arguments.paths:
        found = compare(
            path,
            num_threads=arguments.threads,
            num_calls=arguments.calls,
            num_blocks=arguments.blocks,
        )
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"created": created, **machine, **found}) + "\n")
        print(
            f"{found['file']}: runner {found['runner_p50_ms']:.4f} ms, "
            f"bare {found['bare_p50_ms']:.4f} ms, ratio {found['ratio']:.3f}"
        )


if __name__ == "__main__":
    main()
