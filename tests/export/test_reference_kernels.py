import importlib.util

import numpy as np
import pytest
from tiny_models import OUTPUT_SCALE, write_tflite

from edgekd.errors import ExportError
from edgekd.export import reference_kernels
from edgekd.export.reference_kernels import compare_kernels, output_step, within_one_step
from edgekd.export.single_operators import TakenApart
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.session import open_session

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 2, 2, 3), dtype=np.uint8)


@pytest.fixture
def opened(tmp_path):
    path = write_tflite(tmp_path / "m.tflite", "int8-static")
    encoding = InputEncoding(
        name="image", kind="image", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NHWC", raw=False
    )
    return path, open_session(path, num_threads=1, encodings=[encoding])


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs tensorflow")
def test_litert_and_tensorflow_agree_on_a_product(opened, tmp_path):
    path, session = opened
    check, noise_db = compare_kernels(path, session, [PIXELS], tmp_path)
    assert (check.share, check.num_samples, check.reason) == (1.0, 4, None)
    assert check.step == OUTPUT_SCALE
    assert (check.operators.num_operators, check.operators.share) == (1, 1.0)
    assert check.operators.worst == "FULLY_CONNECTED logits"
    assert check.runtime.startswith("tensorflow 2.")
    assert noise_db is not None
    assert noise_db > 20


def test_without_tensorflow_nothing_is_compared_and_that_is_said(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_kernels.importlib.util, "find_spec", lambda name: None)
    check, noise_db = compare_kernels(*opened, [PIXELS], tmp_path)
    assert (check.share, check.step, check.num_samples, noise_db) == (None, None, 0, None)
    assert check.reason == "tensorflow is not installed: pip install 'edgekd[tensorflow]'"


def test_a_file_that_tensorflow_cannot_run_is_not_compared(opened, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ExportError("cannot run it (exit code 1); it said:\n  line\n  ValueError: no such op")

    monkeypatch.setattr(reference_kernels.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(reference_kernels.metadata, "version", lambda name: "2.0")
    monkeypatch.setattr(reference_kernels, "run_converter", fail)
    check, _ = compare_kernels(*opened, [PIXELS], tmp_path)
    assert (check.share, check.reason) == (None, "ValueError: no such op")
    assert check.operators is None


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs tensorflow")
def test_the_end_to_end_figure_stands_where_operators_cannot_run_alone(
    opened, tmp_path, monkeypatch
):
    whole = reference_kernels.take_apart(opened[0])
    broken = TakenApart(operators=whole.operators, content=b"no flatbuffer")
    monkeypatch.setattr(reference_kernels, "take_apart", lambda path: broken)
    check, _ = compare_kernels(*opened, [PIXELS], tmp_path)
    assert (check.share, check.num_samples, check.operators) == (1.0, 4, None)
    assert check.reason.startswith("LiteRT cannot run the operators one by one: ")


def test_the_step_is_the_scale_of_what_the_output_is_made_from(opened, exported):
    assert output_step(opened[0]) == OUTPUT_SCALE
    assert output_step(exported.folder / "student.tflite") is None
    step = output_step(exported.folder / "student.int8.tflite")  # behind a DEQUANTIZE
    assert step is not None
    assert 0 < step < 1


def test_one_step_is_a_255th_of_the_largest_answer_where_no_scale_is_known():
    expected = np.float32([255.0, 0.0, 10.0, 20.0])
    assert within_one_step(expected + np.float32([1, -1, 0, 0]), expected) == 1.0
    assert within_one_step(expected + np.float32([1.1, 0, 0, 2]), expected) == 0.5


def test_one_step_of_the_output_scale():
    expected = np.float32([1.0, 2.0, 3.0, 4.0])
    found = expected + np.float32([0.25, -0.25, 0.5, 0.0])
    assert within_one_step(found, expected, step=0.25) == 0.75
