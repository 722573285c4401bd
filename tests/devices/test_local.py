import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import write_onnx, write_tflite

from edgekd.devices.job import Job, Outcome
from edgekd.devices.local import measure
from edgekd.errors import BundleError, DeviceError, EdgekdError, MissingExtraError

FAKE_RUNTIME = """
import os, signal, sys, time
import numpy as np

__version__ = "0.0"
class ExecutionMode: ORT_SEQUENTIAL = 0
class SessionOptions: pass
class Node:
    name, type, shape = "x", "tensor(float)", [1, 2]
class InferenceSession:
    def __init__(self, path, options, providers): {load}
    def get_inputs(self): return [Node()]
    get_outputs = get_inputs
    def run(self, names, feeds):
        {run}
        return [np.zeros((1, 2), np.float32)]
"""


def job(model, **changes):
    options = {"num_threads": 1, "num_warmup": 1, "num_calls": 5, "min_seconds": 0.0}
    return Job(model=str(model), **{**options, **changes})


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Puts a made-up onnxruntime before the real one and returns a file for it to open."""

    def install(*, load="pass", run="pass"):
        folder = tmp_path / "fake"
        folder.mkdir()
        (folder / "onnxruntime.py").write_text(FAKE_RUNTIME.format(load=load, run=run))
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        return write_onnx(tmp_path / "m.onnx")

    return install


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_a_file_is_measured_in_a_process_of_its_own(tmp_path, write, num_threads):
    path = write(tmp_path / f"a b;'$(x)\n.{write.__name__.removeprefix('write_')}")
    events = []
    outcome = measure(job(path, num_threads=num_threads), watch=events.append)
    assert len(outcome.latencies_ns) == 5
    assert outcome.baseline_rss_bytes > 10 << 20  # an interpreter, numpy and a runtime
    assert 0 < outcome.peak_rss_bytes < 200 << 20
    assert events[0]["name"] == "import"


def test_noise_on_both_outputs_changes_nothing(fake):
    events = "os.write(1, b'{\"edgekd\": 1}\\n' * 20000)"
    noise = f"{events}; print('x' * 200000); os.write(2, b'y' * 200000)"
    assert len(measure(job(fake(load=noise, run=noise))).latencies_ns) == 5


@pytest.mark.parametrize(
    ("where", "phase"), [({"load": "{}"}, "load"), ({"run": "{}"}, "first inference")]
)
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SIGSEGV", "the runtime crashed on this file"),
        ("SIGILL", "instructions this CPU does not have"),
        ("SIGKILL", "lack of memory"),
    ],
)
def test_a_native_crash_is_one_line_with_what_is_known(fake, where, phase, name, remedy):
    crash = f"sys.stderr.write('kernel 7 failed\\n'); os.kill(os.getpid(), signal.{name})"
    path = fake(**dict.fromkeys(where, crash))
    with pytest.raises(DeviceError) as caught:
        measure(job(path))
    message = str(caught.value)
    assert f"m.onnx with 1 thread(s), during {phase}: the runner was ended by {name}" in message
    assert remedy in message
    assert message.endswith("it last said: kernel 7 failed")


def test_a_hung_runner_is_stopped(fake):
    with pytest.raises(DeviceError, match="during warm-up: no sign of life for 3 s, stopped"):
        measure(
            job(fake(run="self.n = getattr(self, 'n', 0) + 1; time.sleep(500 * (self.n > 1))")),
            idle_seconds=3,
        )


def test_a_runtime_that_refuses_a_call_is_one_line(fake):
    with pytest.raises(BundleError, match=r"m\.onnx: onnxruntime cannot run it \(no kernel\)"):
        measure(job(fake(run="raise RuntimeError('no kernel')")))


def test_a_runtime_that_exits_is_one_line(fake):
    with pytest.raises(DeviceError, match="ended with status 5"):
        measure(job(fake(run="os._exit(5)")))


def test_a_missing_runtime_names_its_extra(tmp_path, monkeypatch):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "onnxruntime.py").write_text(
        "raise ModuleNotFoundError('no', name='onnxruntime')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"), prepend=os.pathsep)
    with pytest.raises(MissingExtraError, match=r"edgekd\[bench\]"):
        measure(job(write_onnx(tmp_path / "m.onnx")))


def test_little_of_the_environment_reaches_the_runner(fake, monkeypatch, tmp_path):
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SECRET", "1")
    seen = tmp_path / "seen"
    path = fake(load=f"open({str(seen)!r}, 'w').write(repr(dict(os.environ)))")
    measure(job(path, num_threads=3))
    environment = eval(seen.read_text())  # noqa: S307 - our own repr
    assert "SECRET" not in environment
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
@settings(max_examples=20)
@given(data=st.data())
def test_mutated_files_are_measured_or_refused_in_one_line(tmp_path_factory, write, data):
    suffix = write.__name__.removeprefix("write_")
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(write(folder / f"whole.{suffix}", "int8-static").read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = folder / f"mutated.{suffix}"
    path.write_bytes(content)
    try:
        assert isinstance(measure(job(path), idle_seconds=60), Outcome)
    except EdgekdError as error:
        assert "\n" not in str(error)
