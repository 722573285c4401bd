import numpy as np
import onnx
import onnxruntime
import pytest
from small_onnx import samples, write_small_network

from edgekd.errors import ExportError
from edgekd.export.audit import audit_file
from edgekd.export.onnx_file import run_onnx
from edgekd.export.quantization.candidates import answers
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.units import prefer
from edgekd.export.sqnr import sqnr_db
from edgekd.runtimes.onnx_file import onnx_precision


@pytest.fixture(scope="module", params=[False, True], ids=["float", "raw"])
def raw(request):
    return request.param


@pytest.fixture(scope="module")
def made(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("made")
    fp32 = write_small_network(folder / "fp32.onnx", raw=raw)
    quantizer = OnnxQuantizer(fp32, "x86-vnni")
    collector = RangeCollector(seed=0, per_batch=1000)
    quantizer.calibrate(samples(raw=raw), collector)
    return fp32, quantizer, collector.extremes()


def written(made, tmp_path, *wanted, **options):
    _, quantizer, ranges = made
    path = tmp_path / "int8.onnx"
    quantizer.write(prefer(quantizer.units, *wanted, **options), ranges, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return path


@pytest.mark.parametrize(
    ("wanted", "least_db", "precision"),
    [
        (("static",), 35, "int8-static"),
        (("dynamic",), 40, "int8-dynamic"),
        (("dynamic", "static"), 35, "int8-mixed"),
        ((), 45, "int8-weights"),
    ],
)
def test_answers_stay_close_and_the_precision_is_named(
    made, tmp_path, raw, wanted, least_db, precision
):
    path = written(made, tmp_path, *wanted)
    fresh = samples(raw=raw, seed=7)
    expected = answers(made[0], fresh, batch=5)
    assert sqnr_db(expected, answers(path, fresh, batch=5)) > least_db
    facts = audit_file(path)
    assert facts.precision == onnx_precision(path) == precision
    assert facts.int8_weight_bytes_share > 0.6  # biases are 32 bits in float and in int8


def test_everything_computes_in_int8_once_onnx_runtime_has_fused_it(made, tmp_path, raw):
    path = written(made, tmp_path, "static")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    types = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    allowed = {"QuantizeLinear", "Pad", "Transpose", "Flatten", "QGemm", "Cast", "Mul", "Add"}
    assert [t for t in types if not t.startswith("QLinear") and t not in allowed] == []
    assert types.count("QuantizeLinear") == 1
    assert types.count("Mul") == (1 if raw else 0)  # hard swish is QLinearAdd and QLinearMul
    assert audit_file(path).audit.float_operators.keys() <= (
        {"Cast", "Mul", "Add"} if raw else set()
    )


def test_weights_stored_in_8_bits_run_as_in_fp32(made, tmp_path):
    path = written(made, tmp_path)
    found = []
    for name, source in (("a", made[0]), ("b", path)):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{name}.onnx")
        options.log_severity_level = 3
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(tmp_path / f"{name}.onnx").graph.node
        found.append(sorted(node.op_type for node in nodes if "Pool" not in node.op_type))
    assert [t for t in found[1] if t in ("DequantizeLinear", "Cast")] == [
        t for t in found[0] if t in ("DequantizeLinear", "Cast")
    ]
    assert path.stat().st_size < 0.6 * made[0].stat().st_size


def test_the_same_choices_give_the_same_bytes(made, tmp_path):
    first = written(made, tmp_path, "static").read_bytes()
    assert written(made, tmp_path, "static").read_bytes() == first


def test_a_bias_far_beyond_its_products_still_fits_32_bits(tmp_path):
    model = onnx.load(write_small_network(tmp_path / "x.onnx"))
    bias = next(item for item in model.graph.initializer if item.name == "b1")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(16, 3e4, np.float32), "b1"))
    weights = next(item for item in model.graph.initializer if item.name == "w1")
    weights.CopyFrom(
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * np.float32(1e-9), "w1")
    )
    onnx.save(model, tmp_path / "x.onnx")
    quantizer = OnnxQuantizer(tmp_path / "x.onnx", "x86")
    collector = RangeCollector(seed=0, per_batch=100)
    quantizer.calibrate(samples(8), collector)
    quantizer.write(prefer(quantizer.units, "static"), collector.extremes(), tmp_path / "y.onnx")
    stored = {item.name: item for item in onnx.load(tmp_path / "y.onnx").graph.initializer}
    found = onnx.numpy_helper.to_array(stored[f"{quantizer.units[0].name}::b"])
    assert 2**29 < np.abs(found).max() < 2**31 - 2**29


def test_a_graph_that_cannot_run_is_one_error(tmp_path, monkeypatch):
    quantizer = OnnxQuantizer(write_small_network(tmp_path / "x.onnx"), "arm")
    with monkeypatch.context() as patched, pytest.raises(ExportError, match="cannot calibrate"):
        patched.setattr(onnx.ModelProto, "SerializeToString", lambda self: b"no model")
        quantizer.calibrate(samples(2), RangeCollector(seed=0, per_batch=1))


def test_a_mean_over_the_image_becomes_a_pooling_of_the_same_value(made, raw):
    rewritten = made[1]._graph.model
    assert [n.op_type for n in rewritten.graph.node].count("GlobalAveragePool") == 1
    original, feeds = onnx.load(made[0]), samples(4, raw=raw)
    np.testing.assert_allclose(
        run_onnx(rewritten, feeds), run_onnx(original, feeds), rtol=0, atol=1e-5
    )


def upsampling_network():
    """Rows of a table, and a transposed convolution, of which no int8 kernel exists."""
    rng = np.random.default_rng(0)
    stored = {
        "table": rng.standard_normal((40, 16), np.float32),
        "up": rng.standard_normal((3, 16, 4, 4), np.float32),
    }
    node = onnx.helper.make_node
    nodes = [
        node("ReduceMean", ["image", "axes"], ["m"], keepdims=0),
        node("Cast", ["m"], ["i"], to=onnx.TensorProto.INT64),
        node("Gather", ["table", "i"], ["rows"]),
        node("ConvTranspose", ["image", "up"], ["u"], strides=[2, 2]),
        node("ReduceMean", ["u", "spatial"], ["v"], keepdims=0),
        node("Add", ["v", "rows"], ["logits"]),
    ]
    stored |= {"axes": np.array([1, 2, 3]), "spatial": np.array([2, 3])}
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "up",
        [value("image", onnx.TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [value("logits", onnx.TensorProto.FLOAT, ["batch", 16])],
        [onnx.numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), stored


def test_weights_without_int8_kernels_are_stored_in_8_bits(tmp_path):
    model, stored = upsampling_network()
    onnx.save(model, tmp_path / "fp32.onnx")
    quantizer = OnnxQuantizer(tmp_path / "fp32.onnx", "x86-vnni")
    kinds = {unit.kind: unit.choices for unit in quantizer.units}
    assert kinds["ConvTranspose"] == kinds["Gather"] == ("weights",)
    path = tmp_path / "int8.onnx"
    quantizer.write(prefer(quantizer.units), {}, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    held = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
    for name, axis in (("up", 1), ("table", 1)):
        others = tuple(i for i in range(stored[name].ndim) if i != axis)
        scale = np.abs(stored[name]).max(axis=others, keepdims=True) / 127
        expected = np.rint(stored[name] / scale)
        assert held[f"{name}/axis{axis}/w"].dtype == np.int8
        assert np.abs(held[f"{name}/axis{axis}/w"] - expected).max() <= 1
    fresh = samples(6, seed=4)
    expected, found = (answers(p, fresh, batch=3) for p in (tmp_path / "fp32.onnx", path))
    assert sqnr_db(expected, found) > 35
    assert audit_file(path).int8_weight_bytes_share > 0.9


def test_what_is_fed_is_quantized_before_it_is_moved(tmp_path):
    """The window of a sensor, which a convolution of images reads."""
    rng = np.random.default_rng(0)
    stored = {
        "w": rng.standard_normal((8, 4, 1, 3), np.float32),
        "halves": np.array([0, 4, 8]),
        "row": np.array([2]),
        "wg": rng.standard_normal((5, 48), np.float32),
    }
    node = onnx.helper.make_node
    nodes = [
        node("Reshape", ["window", "halves"], ["r"]),
        node("Unsqueeze", ["r", "row"], ["u"]),
        node("Conv", ["u", "w"], ["c"]),
        node("Flatten", ["c"], ["f"]),
        node("Gemm", ["f", "wg"], ["logits"], transB=1),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "window",
        [value("window", onnx.TensorProto.FLOAT, ["batch", 2, 16])],
        [value("logits", onnx.TensorProto.FLOAT, ["batch", 5])],
        [onnx.numpy_helper.from_array(values, name) for name, values in stored.items()],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "fp32.onnx"
    )
    feeds = {"window": rng.standard_normal((40, 2, 16), np.float32)}
    quantizer = OnnxQuantizer(tmp_path / "fp32.onnx", "x86-vnni")
    collector = RangeCollector(seed=0, per_batch=1000)
    quantizer.calibrate(feeds, collector)
    choices = prefer(quantizer.units, "static")
    needed = {k: v for k, v in collector.extremes().items() if k in quantizer.rounded(choices)}
    path = tmp_path / "int8.onnx"
    quantizer.write(choices, needed, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert audit_file(path).audit.float_operators == {}
    expected, found = (answers(p, feeds, batch=5) for p in (tmp_path / "fp32.onnx", path))
    assert sqnr_db(expected, found) > 30
