import json
import subprocess
import sys

import pytest

from edgekd.bundle import write_bundle
from edgekd.cli.main import main_inner


@pytest.fixture
def folder(tmp_path, bundle, weights):
    write_bundle(tmp_path / "run", bundle, weights)
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["", "bundle.json"])
def test_a_bundle_is_described_from_its_record(folder, name, capsys):
    assert main_inner(["inspect", str(folder / name), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["kind"], result["precision"]) == ("bundle", "fp32")
    assert (result["num_params"], result["macs"]) == (78_042, 1_234_567)
    assert result["inputs"] == [
        {"name": "image", "shape": ["batch", 1, 8, 8], "dtype": "float32", "layout": "NCHW"}
    ]
    assert result["outputs"] == [{"name": "logits", "shape": ["batch", 10], "dtype": "float32"}]
    assert result["provenance"]["teacher"]["source"] == "runs/teacher"
    assert result["schema"] == 1


def test_a_person_sees_what_matters_first(folder, capsys):
    assert main_inner(["inspect", str(folder)]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["bundle", str(folder)]
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "architecture resnet_cifar depth=8",
        "format torch, fp32",
        "num_params 78.0 k",
        "macs 1.23 M",
        "input image: float32 batch x 1 x 8 x 8 NCHW",
        "output logits: float32 batch x 10",
        "labels 10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "top1 on val 96.00 % (250 samples)",
        "top1 on test 95.25 % (260 samples)",
        "data builtin:digits (ffffffffffff)",
        "teacher runs/teacher (bundle)",
        "method kd",
        "trained 2026-01-02T03:04:05+00:00, seed 7, a processor, x86_64",
        "versions edgekd 0.1.0, torch 2.14.1",
    ]


def test_a_bundle_is_described_without_torch(folder):
    program = (
        "import sys\n"
        "from edgekd.cli.main import main_inner\n"
        f"main_inner(['inspect', {str(folder)!r}, '--json'])\n"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", ["truncated weights", "altered record", "schema"])
def test_a_damaged_bundle_is_exit_code_5(folder, damage, capsys):
    record = folder / "bundle.json"
    if damage == "truncated weights":
        (folder / "weights.safetensors").write_bytes(b"stand-in")
    elif damage == "altered record":
        record.write_text(record.read_text().replace("0.9525", "0.9999"))
    else:
        record.write_text(record.read_text().replace('"schema": 1', '"schema": 2'))
    assert main_inner(["inspect", str(folder)]) == 5
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"edgekd: error: {folder}")
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("name", ["notes.txt", "absent.onnx", "."])
def test_anything_else_is_exit_code_2(tmp_path, name, capsys):
    (tmp_path / "notes.txt").write_text("hello")
    assert main_inner(["inspect", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err.startswith("edgekd: error: ")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"schema": 99}', b"\xff\xfe"])
def test_json_that_is_no_record_is_exit_code_5(tmp_path, content, capsys):
    path = tmp_path / "student.onnx.json"
    path.write_bytes(content)
    assert main_inner(["inspect", str(path)]) == 5
    assert capsys.readouterr().err.startswith(f"edgekd: error: {path}: ")


def test_a_torch_export_program_is_described(tmp_path, capsys):
    import torch

    path = tmp_path / "net.pt2"
    network = torch.nn.Conv2d(3, 4, 3).eval()
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    program = torch.export.export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    assert main_inner(["inspect", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["kind"], result["num_params"]) == ("torch.export program", 4 * 27 + 4)
    assert result["inputs"][0]["shape"] == ["batch", 3, 8, 8]
    assert main_inner(["inspect", str(path)]) == 0
    assert "batch x 3 x 8 x 8" in capsys.readouterr().out


def test_a_program_that_is_none_is_exit_code_5(tmp_path, capsys):
    (tmp_path / "net.pt2").write_bytes(b"PK")
    assert main_inner(["inspect", str(tmp_path / "net.pt2")]) == 5
    assert "not an archive of torch.export.save" in capsys.readouterr().err
