import numpy as np
import pytest

from edgekd.export.audit import audit_file
from edgekd.export.quantization.candidates import answers, signal_to_noise
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.tflite_quantizer import TfliteQuantizer
from edgekd.export.quantization.units import prefer


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
    noise = signal_to_noise(answers(fp32, fresh, batch=1), answers(path, fresh, batch=1))
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
