from types import SimpleNamespace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_tflite import CHANNELS, SHAPE, write_small_tflite
from tiny_models import write_onnx

from benchmarks.cdd import operator_timing
from benchmarks.cdd.operator_timing import (
    Operator,
    Timing,
    macs_of,
    on_the_way,
    piece,
    timed,
    without_overhead,
)
from edgekd.export.tflite_schema import operator_name, read_tflite


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr(operator_timing, "CALLS", 60)
    monkeypatch.setattr(operator_timing, "ROUNDS", 2)


def outputs(content, x):
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def test_a_piece_answers_what_the_rest_of_the_graph_would_read(tmp_path):
    model = read_tflite(write_small_tflite(tmp_path / "small.tflite"))
    x = np.ones((1, *SHAPE), np.float32)
    assert operator_name(model, model.subgraphs[0].operators[0]) == "PAD"
    (padded,) = outputs(piece(model, 1), x)
    assert np.array_equal(padded, np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))))
    behind_both = outputs(piece(model, 3), x)  # the sum that follows reads both convolutions
    assert [answer.shape for answer in behind_both] == [(1, 6, 6, CHANNELS)] * 2
    whole = outputs(piece(model, len(model.subgraphs[0].operators)), x)
    assert np.array_equal(whole[0], outputs((tmp_path / "small.tflite").read_bytes(), x)[0])


def test_what_expands_constants_is_no_operator_on_the_way():
    operators = [
        SimpleNamespace(inputs=[0, 7], outputs=[1]),
        SimpleNamespace(inputs=[8], outputs=[2]),  # of a constant alone
        SimpleNamespace(inputs=[1, 2], outputs=[3]),
    ]
    graph = SimpleNamespace(inputs=[0], operators=operators)
    assert on_the_way(SimpleNamespace(subgraphs=[graph])) == [1, 3]


def test_macs_are_counted_by_the_side_of_the_output(tmp_path):
    # 2 -> 4 channels by 3 x 3 kernels on a padded image, then 4 -> 4 by 1 x 1
    found = macs_of(write_small_tflite(tmp_path / "small.tflite"))
    assert found == {"convolutions at 6 x 6": 36 * (9 * 2 * 4 + 4 * 4)}


def test_what_measuring_adds_is_taken_off_all_operators_alike():
    operators = (Operator("Conv", 4, 30.0), Operator("Add", 0, 10.0))
    assert without_overhead(Timing(30.0, operators)).operators == (
        Operator("Conv", 4, 25.0),
        Operator("Add", 0, 5.0),
    )
    assert without_overhead(Timing(50.0, operators)).operators == operators


def test_every_operator_of_a_tflite_file_is_timed(tmp_path, quickly):
    file = write_small_tflite(tmp_path / "small.tflite")
    (timing,) = timed([file])
    assert [one.group for one in timing.operators] == [
        "PAD",
        "convolutions at 6 x 6",
        "convolutions at 6 x 6",
        "ADD",
        "RESHAPE",
    ]
    assert timing.whole > 0


def test_every_operator_of_an_onnx_file_is_timed(tmp_path, quickly):
    (timing,) = timed([write_onnx(tmp_path / "tiny.onnx")])
    assert {"MatMul", "Gemm"} & {one.kind for one in timing.operators}
    assert timing.whole > 0
