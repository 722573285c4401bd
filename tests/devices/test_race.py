import pytest
from tiny_models import write_onnx, write_tflite

from edgekd.devices.drive import RunnerDiedError
from edgekd.devices.race import despite_crashes, race, ratio
from edgekd.errors import BundleError, DeviceError


def test_every_file_gets_a_time_per_round(tmp_path):
    files = [write_onnx(tmp_path / "a.onnx"), write_tflite(tmp_path / "b.tflite")]
    a, b = race(files, num_threads=1, seconds=0.0)
    assert len(a) == len(b) == 7
    assert min(*a, *b) > 0


def test_a_file_that_cannot_run_has_no_time_and_harms_no_other(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    good = write_onnx(tmp_path / "good.onnx")
    found = race([tmp_path / "bad.onnx", good], num_threads=1, seconds=0.0)
    assert found[0] is None
    assert len(found[1]) == 7


def test_files_that_are_all_refused_are_an_error_with_the_reason(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"bad\.onnx: onnxruntime cannot load it"):
        race([tmp_path / "bad.onnx"], num_threads=1, seconds=0.0)


def process(*, crashing=(), refused=(), most=99):
    """A process that some files take down, that refuses others, and that holds ``most`` files."""

    def once(files, seconds):
        if set(crashing) & set(files) or len(files) > most:
            raise RunnerDiedError("the runner was ended by SIGSEGV")
        if set(files) <= set(refused):
            raise BundleError("the runtime cannot load it")
        return tuple(None if path in refused else (1,) for path in files)

    return once


def test_a_crash_is_traced_to_its_file(tmp_path):
    a, b, c = (tmp_path / name for name in ("crash.onnx", "refused.onnx", "good.onnx"))
    once = process(crashing=[a], refused=[b])
    assert despite_crashes(once, [a, b, c], 0.0) == (None, None, (1,))
    with pytest.raises(DeviceError, match="crashes on every candidate"):
        despite_crashes(once, [a], 0.0)


def test_files_that_only_run_alone_are_told_from_those_that_crash(tmp_path):
    files = [tmp_path / "a.onnx", tmp_path / "b.onnx"]
    with pytest.raises(DeviceError, match=r"SIGSEGV; each of them runs alone, so memory may be"):
        despite_crashes(process(most=1), files, 0.0)


def test_a_lost_connection_is_no_crash_of_a_file(tmp_path):
    calls = []

    def once(files, seconds):
        calls.append(files)
        raise DeviceError("rpi: the connection ended")

    with pytest.raises(DeviceError, match="the connection ended"):
        despite_crashes(once, [tmp_path / "a.onnx", tmp_path / "b.onnx"], 0.0)
    assert len(calls) == 1  # nothing is tried again over a connection that is gone


def test_a_machine_that_slows_down_changes_no_ratio():
    steady = (100, 120, 150, 200, 400, 800, 900)
    half = tuple(time // 2 for time in steady)
    assert ratio(half, steady) == (0.5, 0.0)


def test_the_error_is_that_of_a_median():
    # ratios 0.9, 1.0, 1.1: the median deviation is 0.1
    _, error = ratio((9, 10, 11), (10, 10, 10))
    assert error == pytest.approx(1.4826 * 1.2533 * 0.1 / 3**0.5)
