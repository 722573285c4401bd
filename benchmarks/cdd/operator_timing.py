"""The time of each operator of a model file, on one thread.

ONNX Runtime times its own operators (its profile); what the profile itself costs, the sum of the
operators less the time of an inference without it, is taken off all of them in equal parts.
LiteRT's Python package has no profile: the graph is cut behind every operator in turn and the
pieces timed in the same turns, so that an operator's time is what it adds to the piece before.
"""

import json
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isqrt, prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from ai_edge_litert.interpreter import Interpreter

from edgekd.export.tflite_schema import operator_name, pack_tflite, read_tflite

CALLS = 3000  # of every file, in all rounds together
ROUNDS = 5
CONVOLUTIONS = {"QLinearConv", "Conv", "FusedConv", "CONV_2D"}


@dataclass(frozen=True)
class Operator:
    """One operator of a graph and what it took."""

    kind: str
    positions: int
    """Of a convolution's output, height times width; 0 of everything else."""
    microseconds: float

    @property
    def group(self) -> str:
        """The line of the table that it belongs to."""
        side = isqrt(self.positions)
        return f"convolutions at {side} x {side}" if self.positions else self.kind


@dataclass(frozen=True)
class Timing:
    """One file."""

    whole: float
    """Microseconds of an inference as a caller sees it, undisturbed; median."""
    operators: tuple[Operator, ...]


def onnx_rounds(file: Path) -> Iterator[Timing]:
    """A timing by ONNX Runtime's own profile, again and again."""
    plain = _onnx_session(file, None)
    call = _onnx_call(plain)
    while True:
        whole = _median_us(call, CALLS // ROUNDS)
        with tempfile.TemporaryDirectory() as folder:
            session = _onnx_session(file, Path(folder) / "profile")
            profiled = _onnx_call(session)
            for _ in range(CALLS // ROUNDS):
                profiled()
            events = json.loads(Path(session.end_profiling()).read_text())
        yield without_overhead(Timing(whole, tuple(_onnx_operators(events))))


def without_overhead(timing: Timing) -> Timing:
    """The same, less what measuring added: the same to each operator."""
    operators = timing.operators
    cost = max(0.0, (total_us(operators) - timing.whole) / len(operators))
    less = (replace(one, microseconds=one.microseconds - cost) for one in operators)
    return Timing(timing.whole, tuple(less))


def _onnx_session(file: Path, profile: Path | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _onnx_call(session: Any) -> Callable[[], object]:
    info = session.get_inputs()[0]
    kinds = {"tensor(float)": np.float32, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
    shape = [size if isinstance(size, int) else 1 for size in info.shape]  # a batch of any size
    feeds = {info.name: np.zeros(shape, kinds[info.type])}
    return lambda: session.run(None, feeds)


def _onnx_operators(events: list[dict[str, Any]]) -> Iterator[Operator]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            found[event["name"]].append(event)
    for runs in found.values():
        taken = runs[len(runs) // 10 :]  # the first calls allocate
        first = runs[0]["args"]
        # Whole microseconds are told: only their mean over many calls has digits behind them.
        mean = statistics.mean(run["dur"] for run in taken)
        yield Operator(first["op_name"], _onnx_positions(first), mean)


def _onnx_positions(arguments: dict[str, Any]) -> int:
    """Kernels are packed beforehand and not told; biases are, and have an entry per channel."""
    if arguments["op_name"] not in CONVOLUTIONS:
        return 0
    shapes = [next(iter(entry.values())) for entry in arguments["input_type_shape"]]
    bias = next(shape for shape in reversed(shapes) if len(shape) == 1)
    output = next(iter(arguments["output_type_shape"][0].values()))
    return int(prod(output) // bias[0])


def tflite_rounds(file: Path) -> Iterator[Timing]:
    """A timing by pieces of the graph, from its input to behind each operator, again and again."""
    model = read_tflite(file)
    operators = model.subgraphs[0].operators
    counts = on_the_way(model)
    whole = _tflite_call(file.read_bytes())
    pieces = [_tflite_call(piece(model, count)) for count in counts]
    while True:
        undisturbed = _median_us(whole, CALLS // ROUNDS)
        # The machine's pace drifts: many short turns through all pieces, then medians.
        turns = [[_median_us(call, 30) for call in pieces] for _ in range(CALLS // ROUNDS // 30)]
        until = [statistics.median(times) for times in zip(*turns, strict=True)]
        added = [late - early for early, late in pairwise((0.0, *until))]
        last = (operators[count - 1] for count in counts)
        yield Timing(
            undisturbed,
            tuple(
                Operator(operator_name(model, operator), _tflite_positions(model, operator), taken)
                for operator, taken in zip(last, added, strict=True)
            ),
        )


def on_the_way(model: Any) -> list[int]:
    """Behind how many operators to cut: behind those that compute with what is fed.

    Others expand constants, which happens once, when a file is loaded.
    """
    graph = model.subgraphs[0]
    fed, counts = set(graph.inputs), []
    for count, operator in enumerate(graph.operators, 1):
        if fed.intersection(operator.inputs):
            fed.update(operator.outputs)
            counts.append(count)
    return counts


def piece(model: Any, count: int) -> bytes:
    """The first operators alone; its outputs are whatever the others would read of them.

    A result that nobody reads might not be computed.
    """
    part, graph = copy(model), copy(model.subgraphs[0])
    made = {index for operator in graph.operators[:count] for index in operator.outputs}
    read = {index for operator in graph.operators[count:] for index in operator.inputs}
    outputs = sorted(made & (read | set(graph.outputs)))
    graph.operators = graph.operators[:count]
    graph.outputs = np.array(outputs, np.int32)
    part.subgraphs, part.signatureDefs = [graph], None
    return pack_tflite(part)


def _tflite_call(content: bytes) -> Callable[[], object]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    invoke: Callable[[], object] = interpreter.invoke
    return invoke


def _tflite_positions(model: Any, operator: Any) -> int:
    if operator_name(model, operator) not in CONVOLUTIONS:
        return 0
    return int(prod(model.subgraphs[0].tensors[operator.outputs[0]].shape[1:3]))


def macs_of(file: Path) -> Counter[str]:
    """Multiply-accumulates of a TFLite file's convolutions, by the lines of the table."""
    model, found = read_tflite(file), Counter[str]()
    for operator in model.subgraphs[0].operators:
        if positions := _tflite_positions(model, operator):
            kernel = model.subgraphs[0].tensors[operator.inputs[1]]
            found[Operator("", positions, 0).group] += int(positions * prod(kernel.shape))
    return found


def _median_us(call: Callable[[], object], calls: int) -> float:
    for _ in range(max(3, calls // 10)):
        call()
    times: list[int] = []
    for _ in range(calls):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(statistics.median(times)) / 1e3


def timed(files: list[Path]) -> list[Timing]:
    """Files of one kind in turns; medians over the rounds."""
    rounds = onnx_rounds if files[0].suffix == ".onnx" else tflite_rounds
    running = [rounds(file) for file in files]
    taken = [[next(one) for one in running] for _ in range(ROUNDS)]
    return [_middle(list(of_file)) for of_file in zip(*taken, strict=True)]


def _middle(rounds: list[Timing]) -> Timing:
    operators = (
        replace(same[0], microseconds=statistics.median(o.microseconds for o in same))
        for same in zip(*(timing.operators for timing in rounds), strict=True)
    )
    return Timing(statistics.median(timing.whole for timing in rounds), tuple(operators))


def total_us(operators: Iterable[Operator]) -> float:
    """Microseconds of all of them."""
    return sum(operator.microseconds for operator in operators)
