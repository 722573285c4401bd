import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from small_tflite import SHAPE, write_small_tflite
from tiny_models import (
    BIAS,
    INPUT_SCALE,
    INPUT_ZERO_POINT,
    NUM_CLASSES,
    OUTPUT_SCALE,
    OUTPUT_ZERO_POINT,
    SIZE,
    WEIGHTS,
    write_tflite,
)

from edgekd.errors import BundleError, ExportError
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.tflite_quantizer import TfliteQuantizer
from edgekd.export.quantization.units import prefer
from edgekd.export.single_operators import TakenApart, compare_operators, take_apart

FLAT, LOGITS = 1, 4  # tensors of the tiny file
ROWS = 5


@pytest.fixture
def apart(tmp_path):
    return take_apart(write_tflite(tmp_path / "m.tflite", "int8-static"))


@pytest.fixture
def values():
    """Inputs of the product, and what it has to make of them, in NumPy."""
    x = np.random.default_rng(0).integers(-128, 128, (ROWS, 1, SIZE), dtype=np.int8)
    real = (x.astype(np.float64) - INPUT_ZERO_POINT) * INPUT_SCALE @ WEIGHTS.T + BIAS
    q = np.clip(np.rint(real / OUTPUT_SCALE) + OUTPUT_ZERO_POINT, -128, 127)
    return {FLAT: x, LOGITS: q.astype(np.int8)}


def test_what_only_moves_values_is_left_out(apart):
    (product,) = apart.operators
    assert product.name == "FULLY_CONNECTED logits"
    assert apart.tensors == (FLAT, LOGITS)
    assert [whole for whole, _ in product.inputs] == [FLAT]  # weights and bias are constants


def test_a_right_kernel_agrees_on_everything(apart, values):
    found = compare_operators(apart, values)
    assert (found.num_operators, found.share, found.lowest_share) == (1, 1.0, 1.0)


def test_values_more_than_a_step_apart_are_counted(apart, values):
    away = values[LOGITS].astype(np.int16)
    inside = np.abs(away) < 100  # where two steps more are still 8 bits
    count = int(inside[2:].sum())
    assert count > 0
    away[2:] += 2 * inside[2:]
    found = compare_operators(apart, {**values, LOGITS: away.astype(np.int8)})
    # the kernel may itself round the other way, and then be one or three steps off
    assert found.share <= 1 - 0.5 * count / (ROWS * NUM_CLASSES)
    assert found.worst == "FULLY_CONNECTED logits"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Padding, two convolutions and a sum in int8, between float ends."""
    folder = tmp_path_factory.mktemp("small")
    quantizer = TfliteQuantizer(write_small_tflite(folder / "fp32.tflite"))
    collector = RangeCollector(seed=0, per_batch=100)
    feeds = {"image": np.random.default_rng(0).standard_normal((8, *SHAPE), np.float32)}
    quantizer.calibrate(feeds, collector)
    path = folder / "int8.tflite"
    quantizer.write(prefer(quantizer.units, "static"), collector.extremes(), path)
    return take_apart(path)


def test_every_operator_has_inputs_of_its_own(small):
    types = [op.name.partition(" ")[0] for op in small.operators]
    assert types == ["QUANTIZE", "CONV_2D", "CONV_2D", "ADD"]
    own = [tensor for op in small.operators for _, tensor in (*op.inputs, *op.outputs)]
    assert len(set(own)) == len(own)
    first, addition = small.operators[1], small.operators[3]
    assert first.outputs[0][0] in [whole for whole, _ in addition.inputs]


def computed(apart):
    """Values of all tensors for one sample: made up where no operator makes them."""
    rng = np.random.default_rng(1)
    interpreter = Interpreter(model_content=apart.content, num_threads=1)
    interpreter.allocate_tensors()
    inputs = {details["index"]: details for details in interpreter.get_input_details()}
    found = {}
    for op in apart.operators:
        for whole, own in op.inputs:
            shape = inputs[own]["shape"]
            made_up = rng.integers(-128, 128, shape).astype(inputs[own]["dtype"])
            interpreter.set_tensor(own, found.setdefault(whole, made_up))
        interpreter.invoke()
        found |= {whole: interpreter.get_tensor(own) for whole, own in op.outputs}
    return {whole: values[None] for whole, values in found.items()}


def test_the_operator_that_agrees_least_is_named(small):
    right = computed(small)
    found = compare_operators(small, right)
    assert (found.num_operators, found.share, found.lowest_share) == (4, 1.0, 1.0)
    output = small.operators[3].outputs[0][0]
    away = right[output].astype(np.int16)
    away = np.where(away > 0, away - 2, away + 2).astype(np.int8)
    found = compare_operators(small, {**right, output: away})
    assert (found.lowest_share, found.worst) == (0.0, small.operators[3].name)
    sizes = [right[whole].size for op in small.operators for whole, _ in op.outputs]
    assert found.share == pytest.approx(1 - sizes[3] / sum(sizes))


def test_without_int8_there_is_nothing_to_take_apart(tmp_path):
    found = take_apart(write_tflite(tmp_path / "m.tflite", "fp32"))
    assert (found.operators, found.tensors, found.content) == ((), (), b"")


def test_what_litert_cannot_run_is_an_error(apart, values):
    broken = TakenApart(operators=apart.operators, content=b"no flatbuffer")
    with pytest.raises(ExportError, match="LiteRT cannot run the operators one by one: "):
        compare_operators(broken, values)
    with pytest.raises(ExportError, match="one by one"):
        compare_operators(apart, {**values, FLAT: values[FLAT][..., :3]})


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(BundleError, match="not a TFLite file"):
        take_apart(tmp_path / "m.tflite")
