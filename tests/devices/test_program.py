import io
import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from tiny_models import write_tflite

from edgekd.devices.program import runner_program

_ON_A_BOARD = (
    "numpy", "ai_edge_litert", "flatbuffers", "tqdm", "backports", "ml_dtypes", "google",
    "typing_extensions",
)  # fmt: skip


def test_equal_modules_give_equal_bytes():
    assert runner_program() == runner_program()


def test_it_needs_nothing_but_the_standard_library_and_the_environment(tmp_path, quick_job):
    program = tmp_path / "runner.pyz"
    program.write_bytes(runner_program())
    job = tmp_path / "job.json"
    job.write_text(quick_job(write_tflite(tmp_path / "m.tflite")).to_json())
    # Of this environment only what a board gets: the whole of it holds edgekd as well.
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(sysconfig.get_paths()["platlib"]).iterdir():
        if entry.name.startswith(_ON_A_BOARD):
            (site / entry.name).symlink_to(entry)
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(program), str(site), str(job)],
        stdin=subprocess.PIPE,  # open as long as somebody waits for it
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        events = [json.loads(line) for line in process.stdout]
    assert events[-1]["event"] == "result"
    assert len(events[-1]["latencies_ns"]) == 5


def test_it_holds_no_module_that_imports_more():
    with zipfile.ZipFile(io.BytesIO(runner_program())) as archive:
        source = "\n".join(archive.read(name).decode() for name in archive.namelist())
    assert "pydantic" not in source
    assert "edgekd.records import" not in source
