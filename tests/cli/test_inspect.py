import json
import subprocess
import sys

import onnx
import pytest
from program_file import BatchNormed, saved
from tiny_models import write_onnx, write_tflite

from edgekd.bundle import sha256_of, to_json, write_bundle
from edgekd.cli.main import main_inner
from edgekd.export.metadata import EmbeddedMetadata, embed_in_onnx
from edgekd.records import ExportedModel, OperatorAudit, Parity, TensorSpec

CONTRACT = {"num_params", "macs", "inputs", "outputs", "precision"}


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


def test_labels_that_are_not_shown_are_hinted_at(tmp_path, bundle, weights, capsys):
    many = tuple(map(str, range(13)))
    changed = bundle.model_copy(update={"labels": many})
    write_bundle(tmp_path / "run", changed, weights)
    assert main_inner(["inspect", str(tmp_path / "run")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "labels 13: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..." in lines


@pytest.mark.parametrize(
    "command", [["inspect"], ["export", "-o", "out"], ["bench"], ["distill", "--teacher"]]
)
def test_a_run_that_was_stopped_is_named_as_one(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoint.safetensors").write_bytes(b"of a run that was stopped")
    rest = ["--data", "builtin:digits", "--method", "kd", "--model", "resnet8", "-o", "new"]
    assert main_inner([*command, "run", *(rest if command[0] == "distill" else [])]) == 5
    assert "run: this training has not finished; " in capsys.readouterr().err


def test_what_training_found_is_shown(tmp_path, bundle, weights, capsys):
    noted = bundle.model_copy(update={"notes": ("missed its target",)})
    write_bundle(tmp_path / "run", noted, weights)
    assert main_inner(["inspect", str(tmp_path / "run")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "note missed its target" in lines


def test_the_channels_that_are_left_are_shown(tmp_path, bundle, weights, capsys):
    arch = bundle.arch.model_copy(update={"widths": (8, 15, 30), "merged": True})
    write_bundle(tmp_path / "run", bundle.model_copy(update={"arch": arch}), weights)
    assert main_inner(["inspect", str(tmp_path / "run")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "channels in blocks 8, 15, 30" in lines


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
    assert result["macs"] == 6 * 6 * 4 * 27
    assert result["inputs"][0]["shape"] == ["batch", 3, 8, 8]
    (output,) = result["outputs"]
    assert (output["shape"], output["dtype"]) == (["batch", 4, 6, 6], "float32")
    assert main_inner(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "batch x 3 x 8 x 8" in shown
    assert "batch x 4 x 6 x 6" in shown
    assert "3.89 k" in shown


@pytest.mark.parametrize(
    "kind", ["run", "student.onnx", "student.tflite", "student.tflite.json", "net.pt2"]
)
def test_every_kind_has_what_a_script_may_rely_on(kind, folder, bundle, tmp_path, capsys):
    if kind == "student.onnx":
        write_onnx(tmp_path / kind)
    elif kind.startswith("student.tflite"):
        write_record(write_tflite(tmp_path / "student.tflite"), bundle)
    elif kind == "net.pt2":
        saved(BatchNormed().eval(), tmp_path / kind)
    assert main_inner(["inspect", str(tmp_path / kind), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= CONTRACT
    assert isinstance(result["macs"], int)
    for way in ("inputs", "outputs"):
        assert result[way]
        assert all(spec.keys() >= {"name", "shape", "dtype"} for spec in result[way])


def test_a_program_that_is_none_is_exit_code_5(tmp_path, capsys):
    (tmp_path / "net.pt2").write_bytes(b"PK")
    assert main_inner(["inspect", str(tmp_path / "net.pt2")]) == 5
    assert "not an archive of torch.export.save" in capsys.readouterr().err


def write_record(path, bundle, **changes):
    """The record beside a tiny file, as export writes it."""
    audit = OperatorAudit(
        int8_macs_share=0.0, int8_operators={}, float_operators={}, num_transposes=0
    )
    parity = Parity(
        num_samples=1, batch_sizes=(1,), split=None, max_abs_err=0.0, tolerance=1e-3, sqnr_db=None,
        top1_agreement=1.0, metric_drop=None,
    )  # fmt: skip
    spec = TensorSpec(name="image", shape=(1, 3, 2, 2), dtype="float32", layout="NCHW")
    fields = {
        "file": path.name, "format": path.suffix[1:], "precision": "fp32",
        "sha256": sha256_of(path), "size_bytes": path.stat().st_size, "num_params": 39, "macs": 36,
        "inputs": (spec,), "outputs": (spec,), "input_encoding": "float32", "int8_macs_share": 0.0,
        "audit": audit, "parity": parity, "preprocess": bundle.preprocess, "labels": ("a", "b"),
        "source_sha256": "5" * 64, "metrics": (), "versions": {}, "provenance": None, **changes,
    }  # fmt: skip
    path.with_name(f"{path.name}.json").write_bytes(to_json(ExportedModel(**fields)))


def test_what_could_not_be_counted_is_named(tmp_path, bundle, weights, capsys):
    missing = {"uncounted_operators": ("aten::_fft_r2c", "aten::sort")}
    write_bundle(tmp_path / "run", bundle.model_copy(update=missing), weights)
    assert main_inner(["inspect", str(tmp_path / "run")]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "macs 1.23 M macs leave out aten::_fft_r2c, aten::sort, without a formula" in words
    audit = OperatorAudit(
        int8_macs_share=0.0, int8_operators={}, float_operators={"Einsum": 1}, num_transposes=0,
        uncounted_operators=("Einsum",),
    )  # fmt: skip
    path = write_onnx(tmp_path / "student.onnx")
    write_record(path, bundle, audit=audit)
    assert main_inner(["inspect", f"{path}.json"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "the int8 share leaves out Einsum, without a formula" in words


def test_a_folder_of_exported_files_is_a_list(tmp_path, bundle, capsys):
    write_record(write_tflite(tmp_path / "student.tflite"), bundle)
    write_onnx(tmp_path / "student.onnx")
    (tmp_path / "measurements.jsonl").write_text("")
    assert main_inner(["inspect", str(tmp_path), "--json"]) == 0
    onnx, tflite = json.loads(capsys.readouterr().out)
    assert (onnx["file"], tflite["file"]) == ("student.onnx", "student.tflite")
    for found in (onnx, tflite):
        assert found.keys() >= CONTRACT
        assert (found["kind"], found["macs"], found["num_params"]) == ("model file", 36, 39)
    assert tflite["labels"] == ["a", "b"]
    assert main_inner(["inspect", str(tmp_path)]) == 0
    heads = [line.split() for line in capsys.readouterr().out.splitlines() if "model file" in line]
    assert [head[-1] for head in heads] == [
        str(tmp_path / "student.onnx"),
        str(tmp_path / "student.tflite"),
    ]


def test_a_damaged_file_of_a_folder_is_exit_code_5(tmp_path, capsys):
    write_onnx(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"no model")
    assert main_inner(["inspect", str(tmp_path), "--json"]) == 5
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"edgekd: error: {tmp_path / 'b.onnx'}")


def test_cost_is_the_networks_where_its_record_tells_it(tmp_path, bundle, capsys):
    """The file holds more constants than the network, as the normalisation of raw pixels."""
    path = write_onnx(tmp_path / "student.onnx", dtype="uint8")
    write_record(path, bundle, num_params=33, macs=30, input_encoding="uint8")
    assert main_inner(["inspect", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["num_params"], result["macs"]) == (33, 30)
    assert result["inputs"][0]["dtype"] == "uint8"  # but everything else is the file's own


def test_without_its_record_a_file_that_normalises_says_what_was_counted(tmp_path, bundle, capsys):
    path = write_onnx(tmp_path / "student.onnx", dtype="uint8")
    inside = EmbeddedMetadata(
        labels=("a", "b"), preprocess=bundle.preprocess, input_encoding="uint8",
        source_sha256="5" * 64, versions={}, provenance=None,
    )  # fmt: skip
    model = onnx.load(path)
    embed_in_onnx(model, inside)
    onnx.save(model, path)
    assert main_inner(["inspect", str(path)]) == 0
    assert "num_params counts the normalisation of raw pixels" in capsys.readouterr().out
    write_record(path, bundle, input_encoding="uint8")
    assert main_inner(["inspect", str(path)]) == 0
    assert "normalisation of raw pixels" not in capsys.readouterr().out
