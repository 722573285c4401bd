import subprocess
import sys

import pytest
from tiny_models import write_onnx

from edgekd.errors import BundleError, MissingExtraError
from edgekd.runtimes import session as module
from edgekd.runtimes.session import format_of, load_runtime, open_session


def test_the_suffix_names_the_format_whatever_its_case(tmp_path):
    assert format_of(tmp_path / "a.int8.TFLITE") == "tflite"
    assert format_of(tmp_path) == "torch"
    with pytest.raises(BundleError, match=r"expected a \.onnx or \.tflite"):
        format_of(tmp_path / "a.pt")


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BundleError, match="no such file"):
        open_session(tmp_path / "a.onnx", num_threads=1)


def test_no_thread_is_refused(tmp_path):
    with pytest.raises(ValueError, match="num_threads must be >= 1"):
        open_session(write_onnx(tmp_path / "a.onnx"), num_threads=0)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "edgekd.runtimes.onnx_runtime", raising=False)
    with pytest.raises(MissingExtraError, match=r"onnxruntime .*run ONNX files.*edgekd\[bench\]"):
        load_runtime("onnx")


def test_an_unknown_format_says_which_are_known():
    with pytest.raises(BundleError, match="onnx, tflite, torch"):
        load_runtime("pte")


def test_every_runtime_in_the_table_offers_the_protocol():
    for model_format in module.RUNTIMES:
        runtime = load_runtime(model_format)
        assert runtime.version()[0].isdigit()
        assert callable(runtime.open_session)


def test_measuring_imports_no_torch_and_no_runtime_before_it_is_needed():
    code = (
        "import edgekd.bench.run, edgekd.devices.local, edgekd.devices.runner, "
        "edgekd.runtimes.session, sys; "
        "print([m for m in ('torch', 'tensorflow', 'onnx', 'onnxruntime', 'ai_edge_litert', "
        "'edgekd.students', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_runner_needs_no_pydantic():
    code = "import edgekd.devices.runner, sys; print('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
