import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tiny_models import write_onnx

from edgekd.errors import BundleError
from edgekd.runtimes.onnx_file import onnx_precision


@pytest.mark.parametrize(
    "precision", ["fp32", "fp16", "int8-static", "int8-weights", "int8-dynamic"]
)
def test_each_precision_is_told_from_the_operators(tmp_path, precision):
    assert onnx_precision(write_onnx(tmp_path / "m.onnx", precision)) == precision


def test_one_float_product_among_int8_ones_is_mixed(tmp_path):
    path = tmp_path / "m.onnx"
    nodes = [
        helper.make_node("QLinearMatMul", [f"q{i}" for i in range(8)], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])]
    )
    path.write_bytes(helper.make_model(graph).SerializeToString())
    assert onnx_precision(path) == "int8-mixed"


@given(data=st.data())
def test_damaged_files_are_refused_or_read_never_a_crash(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(write_onnx(folder / "whole.onnx", "int8-static").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "mutated.onnx"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert onnx_precision(path) in {"fp32", "fp16", "int8-static", "int8-mixed", "int8-weights"}
    except BundleError as error:
        assert "not an ONNX file" in str(error)
