"""A bundle with something left in it, as a user meets it."""

import hashlib

import pytest
import safetensors.torch
import torch
from tiny_bundle import write_tiny_bundle

from edgekd.bundle import read_bundle, write_bundle
from edgekd.cli.main import main_inner
from edgekd.records import ImageInput, Preprocess

PREPROCESS = Preprocess(
    inputs=(ImageInput(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,)),)
)


@pytest.fixture
def bundle(tmp_path):
    write_tiny_bundle(tmp_path / "bundle", PREPROCESS, ("a", "b"))
    return tmp_path / "bundle"


def export(bundle, capsys):
    code = main_inner(["export", str(bundle), "--format", "onnx", "-o", str(bundle / "out")])
    return code, capsys.readouterr().err


def test_a_head_left_in_the_weights_is_refused(bundle, capsys):
    weights = safetensors.torch.load_file(bundle / "weights.safetensors")
    weights["branches.0.classifier.weight"] = torch.zeros(2, 2)
    content = safetensors.torch.save(weights)
    record = read_bundle(bundle).model_copy(
        update={"weights_sha256": hashlib.sha256(content).hexdigest()}
    )
    write_bundle(bundle, record, content)
    code, said = export(bundle, capsys)
    assert code == 5
    assert "weights and architecture do not fit" in said
    assert not list((bundle / "out").glob("*.onnx"))


def test_a_record_that_counts_more_than_the_plain_network_is_refused(bundle, capsys):
    content = (bundle / "weights.safetensors").read_bytes()
    record = read_bundle(bundle)
    write_bundle(bundle, record.model_copy(update={"macs": record.macs + 1}), content)
    code, said = export(bundle, capsys)
    assert code == 5
    assert "the plain network has" in said
