from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgekd.errors import ExportError
from edgekd.export import onnx_file
from edgekd.export.onnx_file import export_onnx, run_onnx

SAMPLES = {"image": torch.zeros(1, 3, 6, 6)}


class Network(nn.Module):
    """``Deployed``'s form: any number of inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(64, 2)

    def forward(self, *inputs):
        return self.fc(torch.relu(self.conv(inputs[0])).flatten(1))


@pytest.fixture(scope="module")
def network():
    return Network().eval()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    return export_onnx(network, SAMPLES, simplify=False, work=tmp_path_factory.mktemp("onnx"))


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_any_batch_size_gives_torchs_answer(network, exported, batch):
    x = torch.randn(batch, 3, 6, 6, generator=torch.Generator().manual_seed(batch))
    with torch.no_grad():
        expected = network(x).numpy()
    found = run_onnx(exported.model, {"image": x.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_names_and_the_dynamic_axis(exported):
    (image,), (logits,) = exported.model.graph.input, exported.model.graph.output
    assert (image.name, logits.name) == ("image", "logits")
    for value in (image, logits):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def test_an_input_may_be_called_what_the_graph_calls_a_value_of_its_own(network, tmp_path):
    """``linear`` is what torch calls the result of a linear layer, and an acceleration."""
    samples = {"linear": SAMPLES["image"]}
    model = export_onnx(network, samples, simplify=True, work=tmp_path).model
    assert [value.name for value in model.graph.input] == ["linear"]
    found = run_onnx(model, {"linear": np.zeros((2, 3, 6, 6), np.float32)})
    with torch.no_grad():
        expected = network(torch.zeros(2, 3, 6, 6)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_no_path_of_this_machine_is_in_the_file(exported):
    content = exported.model.SerializeToString()
    assert b"site-packages" not in content
    assert b"test_onnx_file" not in content
    assert b"stack_trace" not in content


def simplified_by(monkeypatch, change):
    """Stand in for onnxsim: apply ``change`` to the model."""

    def run(_module, job, _folder, *, purpose):
        model = onnx.load(job["input"])
        change(model)
        onnx.save(model, job["output"])

    monkeypatch.setattr(onnx_file, "run_converter", run)


def test_a_simpler_graph_with_the_same_answers_is_taken(exported, monkeypatch, tmp_path):
    simplified_by(monkeypatch, lambda model: setattr(model, "producer_name", "simplifier"))
    model, note = onnx_file._simplify(exported.model, SAMPLES, tmp_path)
    assert model.producer_name == "simplifier"
    assert note == f"onnxsim has left all {len(exported.model.graph.node)} nodes"


def change_a_weight(model):
    weight = next(item for item in model.graph.initializer if len(item.dims) == 4)
    values = onnx.numpy_helper.to_array(weight) * 1.001
    weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), weight.name))


def fix_the_batch_axis(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (change_a_weight, "its logits differ by"),
        (fix_the_batch_axis, "invalid dimensions for input: image"),
        (lambda model: model.graph.ClearField("node"), ""),
    ],
)
def test_a_simpler_graph_with_other_answers_is_not(exported, monkeypatch, tmp_path, change, reason):
    simplified_by(monkeypatch, change)
    model, note = onnx_file._simplify(exported.model, SAMPLES, tmp_path)
    assert model is exported.model
    assert note.startswith("onnxsim's graph was not taken: ")
    assert reason in note


def test_a_simplifier_that_crashes_costs_nothing_but_the_simplification(
    exported, monkeypatch, tmp_path
):
    def crash(*_, **__):
        raise ExportError("cannot simplify the graph (killed by signal 11)")

    monkeypatch.setattr(onnx_file, "run_converter", crash)
    model, note = onnx_file._simplify(exported.model, SAMPLES, tmp_path)
    assert model is exported.model
    assert "killed by signal 11" in note


class DataDependent(nn.Module):
    def forward(self, *inputs):
        return inputs[0][inputs[0] > 0] if inputs[0].sum() > 0 else inputs[0]


def test_what_torch_cannot_export_is_one_error(tmp_path):
    with pytest.raises(ExportError, match="torch cannot export the student to ONNX"):
        export_onnx(DataDependent(), SAMPLES, simplify=False, work=tmp_path)


class Tokens(nn.Module):
    """What a transformer has besides attention, with branches that do nothing once trained."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.fc, self.head = nn.LayerNorm(3), nn.Linear(3, 8), nn.Linear(8, 2)
        self.nothing = nn.Sequential(nn.Dropout(0.5), nn.Identity())

    def forward(self, *inputs):
        x = self.nothing(self.norm(inputs[0].flatten(2).transpose(1, 2)))
        x = nn.functional.gelu(self.fc(x)).permute(0, 2, 1)
        return self.head(self.nothing(x.permute(0, 2, 1).mean(1)))


def test_norm_and_gelu_are_one_operator_and_what_does_nothing_is_gone(tmp_path):
    network = Tokens().eval()
    model = export_onnx(network, SAMPLES, simplify=False, work=tmp_path).model
    kinds = Counter(node.op_type for node in model.graph.node)
    assert (kinds["LayerNormalization"], kinds["Gelu"]) == (1, 1)
    assert kinds.keys().isdisjoint({"Identity", "Dropout", "Erf"})
    assert kinds["Transpose"] == 1  # two behind each other are none
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    found = run_onnx(model, {"image": x.numpy()})
    np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
