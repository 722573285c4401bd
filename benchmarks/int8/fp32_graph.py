"""What an fp32 file is made of, and which of its operators the fast kernels leave out."""

from collections import Counter
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from edgekd.export.quiet import quiet_converter, quiet_stderr
from edgekd.records import ExportedModel

DELEGATE = "DELEGATE"  # as LiteRT calls a piece that XNNPACK runs


def describe_fp32(model: ExportedModel, path: Path) -> dict[str, Any]:
    """Counts of an fp32 file; for TFLite also what runs outside XNNPACK, and in how many pieces.

    LiteRT offers Python no time per operator. What it does tell is which operators its delegate
    took: every other one runs in a slower kernel, and cuts the graph in two.
    """
    found: dict[str, Any] = {
        "operators": model.audit.float_operators,
        "transposes": model.audit.num_transposes,
        "largest_rank": model.audit.largest_rank,
    }
    if path.suffix == ".tflite":
        found["pieces"], found["outside_xnnpack"] = outside_delegate(path)
    return found


def outside_delegate(path: Path) -> tuple[int, dict[str, int]]:
    """In how many pieces XNNPACK runs a file, and the operators that it leaves out."""
    with quiet_stderr(), quiet_converter():
        interpreter = Interpreter(model_path=str(path), num_threads=1)
        interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()  # the only place where LiteRT says it
    pieces = [node for node in nodes if node["op_name"] == DELEGATE]
    makers = {
        int(tensor): node
        for node in nodes
        if node["op_name"] != DELEGATE
        for tensor in node["outputs"]
    }
    taken: set[int] = set()
    for piece in pieces:
        ends = {int(tensor) for tensor in piece["inputs"]}
        waiting = [int(tensor) for tensor in piece["outputs"]]
        while waiting:
            node = makers.get(waiting.pop())
            if node is not None and node["index"] not in taken:
                taken.add(node["index"])
                waiting += [int(t) for t in node["inputs"] if int(t) not in ends]
    left = [n["op_name"] for n in makers.values() if n["index"] not in taken]
    return len(pieces), dict(sorted(Counter(left).items()))
