import numpy as np
import pytest
from tiny_models import write_tflite

from edgekd.errors import ParityError
from edgekd.export import reference_kernels
from edgekd.export.reference_kernels import compare_kernels, within_one_step
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.session import open_session

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), dtype=np.uint8)


@pytest.fixture
def opened(tmp_path):
    path = write_tflite(tmp_path / "m.tflite", "int8-static")
    encoding = InputEncoding(
        name="image", kind="image", mean=(0.5,) * 3, std=(0.5,) * 3, layout="NHWC", raw=False
    )
    return path, open_session(path, num_threads=1, encodings=[encoding])


def test_both_kinds_of_kernels_agree_on_a_product(opened):
    path, session = opened
    said = compare_kernels(path, session, [PIXELS], "int8-static")
    assert said.startswith("100.0% of the answers are within one 8-bit step")


def test_kernels_that_do_not_agree_are_an_error_only_where_they_must(opened, monkeypatch):
    path, session = opened
    monkeypatch.setattr(reference_kernels, "within_one_step", lambda found, expected: 0.5)
    with pytest.raises(ParityError, match=r"only 50\.0% of its answers"):
        compare_kernels(path, session, [PIXELS], "int8-static")
    assert compare_kernels(path, session, [PIXELS], "int8-mixed").startswith("50.0%")


def test_one_step_is_a_255th_of_the_largest_answer():
    expected = np.float32([255.0, 0.0, 10.0, 20.0])
    assert within_one_step(expected + np.float32([1, -1, 0, 0]), expected) == 1.0
    assert within_one_step(expected + np.float32([1.1, 0, 0, 2]), expected) == 0.5
