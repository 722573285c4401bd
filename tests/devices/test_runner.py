import json
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny_models import BIAS, WEIGHTS, write_onnx, write_tflite

from edgekd.devices.job import Job
from edgekd.devices.runner import predict, run_job
from edgekd.runtimes.encoding import InputEncoding, TensorInfo

ENCODING = InputEncoding(
    name="image", kind="image", mean=(0.5,) * 3, std=(0.25,) * 3, layout="NCHW"
)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
LOGITS = ((PIXELS / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).reshape(5, -1) @ WEIGHTS.T + BIAS


def job(model, **changes):
    return Job(
        **{
            "model": str(model),
            "num_threads": 1,
            "num_warmup": 2,
            "num_calls": 7,
            "min_seconds": 0.0,
            **changes,
        }
    )


def start(path, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "edgekd.devices.runner", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_a_clock_that_is_set_meanwhile_changes_nothing(tmp_path, monkeypatch):
    def jump():
        raise AssertionError("somebody asked for the time of day")

    monkeypatch.setattr(time, "time", jump)
    outcome = run_job(
        job(write_onnx(tmp_path / "m.onnx"), sustain_seconds=0.05, energy_seconds=0.05),
        lambda event, **fields: None,
    )
    assert min(outcome.latencies_ns) > 0
    assert outcome.sustained["seconds"] >= 0.05


def test_a_job_with_samples_times_and_predicts_them(tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    events = []
    outcome = run_job(
        job(
            write_onnx(tmp_path / "m.onnx"),
            encodings=(ENCODING.to_json(),),
            samples=(str(tmp_path / "x.npy"),),
            logits=str(tmp_path / "y.npy"),
        ),
        lambda event, **fields: events.append((event, fields)),
    )
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), LOGITS, atol=1e-5)
    assert len(outcome.latencies_ns) == 7
    assert min(*outcome.latencies_ns, outcome.load_ns, outcome.encode_ns, outcome.decode_ns) > 0
    assert (outcome.batch_size, outcome.precision, outcome.runtime) == (1, "fp32", "onnxruntime")
    phases = [fields["name"] for event, fields in events if event == "phase"]
    assert phases == ["import", "load", "first inference", "warm-up", "timing"]
    assert events[-1] == ("predicted", {"num_samples": 5})


def test_a_file_of_which_nothing_is_known_gets_random_tensors(tmp_path):
    outcome = run_job(job(write_tflite(tmp_path / "m.tflite", "int8-static")), lambda *a, **k: None)
    assert (outcome.encode_ns, outcome.precision) == (None, "int8-static")


class FixedBatch:
    """A session with batch 2 that answers each row's sum and its place in the call."""

    inputs = (TensorInfo(name="x", shape=(2, 1), dtype="float32"),)

    def encode(self, samples):
        assert all(len(rows) == 2 for rows in samples)
        return {"x": samples[0]}

    def invoke(self, feeds):
        return [np.stack([feeds["x"][:, 0], [0, 1]], axis=1)]

    def decode(self, outputs):
        return outputs[0]


def test_a_fixed_batch_is_filled_up_and_the_filling_dropped(tmp_path):
    rows = np.arange(5, dtype=np.float32)[:, None]
    logits = predict(FixedBatch(), [rows], model=tmp_path / "m.onnx", emit=lambda *a, **k: None)
    np.testing.assert_array_equal(logits, [[0, 0], [1, 1], [2, 0], [3, 1], [4, 0]])


def test_the_process_writes_nothing_but_events(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(job(write_tflite(tmp_path / "m.tflite")).to_json())
    process = start(path)
    lines = process.stdout.read().splitlines()  # stdin stays open meanwhile
    assert process.wait() == 0
    process.communicate()
    events = [json.loads(line) for line in lines]
    assert [event["edgekd"] for event in events] == list(range(len(events)))
    assert events[-1]["event"] == "result"
    assert len(events[-1]["latencies_ns"]) == 7


def test_a_damaged_file_is_an_error_event(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    path = tmp_path / "job.json"
    path.write_text(job(tmp_path / "m.onnx").to_json())
    process = start(path)
    last = json.loads(process.stdout.read().splitlines()[-1])
    assert process.wait() == 1
    process.communicate()
    assert (last["event"], last["kind"]) == ("error", "BundleError")
    assert "onnxruntime cannot load it" in last["message"]


def test_the_process_ends_when_whoever_started_it_is_gone(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(job(write_tflite(tmp_path / "m.tflite"), min_seconds=500).to_json())
    process = start(path)
    while b'"timing"' not in process.stdout.readline():
        pass
    process.stdin.close()
    assert process.wait(timeout=60) == 3
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_is_the_files_own(tmp_path, batch):
    outcome = run_job(job(write_onnx(tmp_path / "m.onnx", batch=batch)), lambda *a, **k: None)
    assert outcome.batch_size == batch
