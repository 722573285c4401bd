import json
import os
from pathlib import Path

import pytest
from tiny_models import write_onnx

from edgekd.devices.local_process import start_runner


def test_a_runner_is_fed_and_followed(tmp_path, quick_job):
    job = quick_job(write_onnx(tmp_path / "m.onnx"))
    with start_runner(job.to_json(), 1) as process:
        events = [json.loads(line) for line in process.lines()]
        assert process.wait() == 0
        assert process.last_words() == ""
    assert events[-1]["event"] == "result"


def test_it_ends_with_the_block_whatever_happens(tmp_path, quick_job):
    job = quick_job(write_onnx(tmp_path / "m.onnx"), min_seconds=60.0)
    with pytest.raises(KeyboardInterrupt), start_runner(job.to_json(), 1) as process:
        next(process.lines())
        pid = process._process.pid
        folder = Path(process._stderr.name).parent
        raise KeyboardInterrupt
    assert process.wait() == -9
    process.close()  # may be done twice
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
