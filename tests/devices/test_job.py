from dataclasses import asdict

import pytest

from edgekd.devices.job import Job, Outcome, RaceJob, read_job
from edgekd.errors import DeviceError

JOB = Job(
    model="/models/a b;'\n.onnx",
    num_threads=2,
    num_warmup=1,
    num_calls=3,
    min_seconds=0.5,
    encodings=({"name": "image", "mean": [0.5]},),
    samples=("x.npy",),
    logits="y.npy",
)
OUTCOME = Outcome(
    runtime="r",
    runtime_version="1",
    batch_size=1,
    num_warmup=0,
    load_ns=1,
    first_invoke_ns=2,
    latencies_ns=(3, 4),
    encode_ns=None,
    decode_ns=5,
    baseline_rss_bytes=6,
    peak_rss_bytes=7,
    peak_was_reset=True,
    precision="fp32",
    before={},
    after={},
    other_load=None,
)

RACE = RaceJob(files=("a.onnx", "b;'\n.onnx"), num_threads=2, seconds=0.5)


@pytest.mark.parametrize("job", [JOB, RACE], ids=["measurement", "race"])
def test_a_job_survives_its_file(job):
    assert read_job(job.to_json()) == job


def test_another_protocol_is_refused():
    text = JOB.to_json().replace('"protocol": 3', '"protocol": 4')
    with pytest.raises(DeviceError, match="speaks protocol 4, this runner 3"):
        read_job(text)


def test_an_outcome_survives_its_event():
    fields = asdict(OUTCOME)
    assert Outcome.from_fields({**fields, "latencies_ns": list(fields["latencies_ns"])}) == OUTCOME


@pytest.mark.parametrize("change", [{"extra": 1}, {"latencies_ns": 5}])
def test_an_outcome_of_another_version_is_refused(change):
    with pytest.raises(DeviceError, match="the same edgekd on both sides"):
        Outcome.from_fields({**asdict(OUTCOME), **change})


def test_an_outcome_without_latencies_is_refused():
    with pytest.raises(DeviceError, match="latencies_ns"):
        Outcome.from_fields({})
