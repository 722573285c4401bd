import numpy as np
import pytest
from small_tflite import BIAS, CHANNELS, DEAD, SHAPE, write_small_tflite
from tflite_builder import TfliteBuilder

from edgekd.export.audit import audit_file
from edgekd.export.audit.health import check_health
from edgekd.export.quantization.candidates import answers
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.tflite_quantizer import TfliteQuantizer
from edgekd.export.quantization.units import prefer
from edgekd.export.sqnr import sqnr_db


def digits(count, seed=0):
    return {"image": np.random.default_rng(seed).standard_normal((count, 8, 8, 1), np.float32)}


@pytest.fixture(scope="module")
def made(exported):
    fp32 = exported.folder / "student.tflite"
    quantizer = TfliteQuantizer(fp32)
    collector = RangeCollector(seed=0, per_batch=100)
    quantizer.calibrate(digits(32), collector)
    return fp32, quantizer, collector.extremes()


def test_products_and_other_operators_are_told_apart(made):
    kinds = {unit.kind: unit.choices for unit in made[1].units}
    assert kinds["CONV_2D"] == ("static", "dynamic", "weights")
    assert kinds["ADD"] == ("static", "float")


@pytest.mark.parametrize(
    ("wanted", "least_db", "precision", "macs_share"),
    [
        (("static",), 20, "int8-static", 1.0),
        (("dynamic",), 20, "int8-dynamic", 0.95),  # LiteRT leaves the smallest weights alone
        ((), 30, "int8-weights", 0.0),
    ],
)
def test_what_is_asked_for_is_made(made, tmp_path, wanted, least_db, precision, macs_share):
    fp32, quantizer, ranges = made
    path = tmp_path / "int8.tflite"
    quantizer.write(prefer(quantizer.units, *wanted), ranges, path)
    facts = audit_file(path)
    assert facts.precision == precision
    assert facts.audit.int8_macs_share == pytest.approx(macs_share, abs=0.01)
    fresh = digits(16, seed=3)
    noise = sqnr_db(answers(fp32, fresh, batch=1), answers(path, fresh, batch=1))
    assert noise > least_db


def test_one_operator_alone_computes_in_int8(made, tmp_path):
    _, quantizer, ranges = made
    first = quantizer.units[0]
    choices = {**prefer(quantizer.units), first.name: "static"}
    quantizer.write(choices, ranges, tmp_path / "int8.tflite")
    facts = audit_file(tmp_path / "int8.tflite")
    assert facts.precision == "int8-mixed"
    assert list(facts.audit.int8_operators.values()) == [1]


def test_the_same_choices_give_the_same_bytes(made, tmp_path):
    _, quantizer, ranges = made
    for name in ("a.tflite", "b.tflite"):
        quantizer.write(prefer(quantizer.units, "static"), ranges, tmp_path / name)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A padded input, a channel of nothing but a bias, an addend that is dead."""
    folder = tmp_path_factory.mktemp("small")
    fp32 = write_small_tflite(folder / "fp32.tflite")
    feeds = {"image": np.random.default_rng(0).standard_normal((16, *SHAPE), np.float32)}
    quantizer = TfliteQuantizer(fp32)
    collector = RangeCollector(seed=0, per_batch=100)
    quantizer.calibrate(feeds, collector)
    quantizer.write(prefer(quantizer.units, "static"), collector.extremes(), folder / "int8.tflite")
    return fp32, folder / "int8.tflite", feeds


def test_padding_of_the_input_is_int8_as_its_readers(small):
    audit = audit_file(small[1]).audit
    assert audit.float_operators == {}
    assert audit.int8_operators == {"ADD": 1, "CONV_2D": 2, "PAD": 1, "RESHAPE": 1}


def test_a_dead_branch_is_no_obstacle(small):
    fp32, int8, feeds = small  # LiteRT refuses to load it unless the dead range is widened
    noise = sqnr_db(answers(fp32, feeds, batch=1), answers(int8, feeds, batch=1))
    assert noise > 30


def test_a_channel_without_weights_keeps_its_bias(small):
    _, int8, feeds = small
    found = answers(int8, feeds, batch=1).reshape(-1, CHANNELS)[:, DEAD]
    np.testing.assert_allclose(found, BIAS, atol=0.05)
    assert check_health(int8) == {"w1": 1}


def test_padding_stays_in_float_before_a_reader_in_float(small, tmp_path):
    quantizer = TfliteQuantizer(small[0])
    ranges = dict.fromkeys(("image", "padded", "first", "second", "sum"), (-9.0, 9.0))
    choices = {**prefer(quantizer.units, "static"), quantizer.units[0].name: "weights"}
    quantizer.write(choices, ranges, tmp_path / "int8.tflite")
    assert audit_file(tmp_path / "int8.tflite").audit.float_operators["PAD"] == 1


def test_what_a_file_holds_in_8_bits_is_what_its_static_operators_read_and_make(small):
    quantizer = TfliteQuantizer(small[0])
    first = next(unit for unit in quantizer.units if "static" in unit.choices)
    held = quantizer.rounded({**prefer(quantizer.units), first.name: "static"})
    assert set(first.name.strip(";").split(";")) <= held
    assert held < quantizer.rounded(prefer(quantizer.units, "static"))
    assert quantizer.rounded(prefer(quantizer.units)) == frozenset()


def test_weights_of_a_transposed_convolution_can_be_stored(tmp_path):
    rng = np.random.default_rng(0)
    builder = TfliteBuilder((1, 4, 4, 8))
    inputs = [
        builder.constant("shape", np.array([1, 8, 8, 16], np.int32)),
        builder.constant("up", rng.standard_normal((16, 2, 2, 8), np.float32)),
        0,
    ]
    builder.operator("TRANSPOSE_CONV", inputs, builder.tensor("y", (1, 8, 8, 16)))
    (tmp_path / "fp32.tflite").write_bytes(builder.content(3))
    (unit,) = TfliteQuantizer(tmp_path / "fp32.tflite").units
    assert (unit.kind, unit.choices) == ("TRANSPOSE_CONV", ("weights",))
