"""``describe`` on files of ours, of others, and on damaged ones."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_file import BatchNormed, BatchOfOne, saved
from tiny_models import write_onnx, write_tflite

from edgekd.errors import BundleError
from edgekd.export.describe import describe, describe_program
from edgekd.export.metadata import EmbeddedMetadata


def test_a_file_of_ours_names_its_labels_and_its_source(exported):
    for name, model in exported.models.items():
        facts = describe(exported.folder / name)
        json.dumps(facts)
        assert facts["sha256"] == model.sha256
        assert facts["precision"] == model.precision
        assert facts["labels"] == list(model.labels)
        assert facts["source_sha256"] == model.source_sha256
        assert facts["inputs"][0]["name"] == "image"
        assert facts["outputs"][0]["shape"][-1] == 10


def test_both_fp32_files_count_what_the_network_counts(exported):
    for name in ("student.onnx", "student.tflite"):
        facts, model = describe(exported.folder / name), exported.models[name]
        assert facts["macs"] == model.macs
        assert facts["num_params"] == model.num_params


@pytest.mark.parametrize(("name", "write"), [("m.onnx", write_onnx), ("m.tflite", write_tflite)])
def test_a_file_of_somebody_else_has_no_labels(tmp_path, name, write):
    facts = describe(write(tmp_path / name))
    assert facts["macs"] == 36
    assert "labels" not in facts


# conv 3 x 3 x 3 -> 4 at 8 x 8, linear 4 -> 5
BATCH_NORMED = 8 * 8 * 4 * 27 + 4 * 5


@pytest.mark.parametrize(
    ("network", "batch", "shape"),
    [(BatchNormed, None, ["batch", 5]), (BatchNormed, 2, [2, 5]), (BatchOfOne, 1, [1, 5])],
)
def test_a_program_of_one_size_says_what_it_answers_and_costs(tmp_path, network, batch, shape):
    facts = describe_program(saved(network().eval(), tmp_path / "net.pt2", batch=batch))
    json.dumps(facts)
    assert (facts["macs"], facts["uncounted_operators"]) == (BATCH_NORMED, [])
    (output,) = facts["outputs"]
    del output["name"]  # torch's own
    assert output == {"shape": shape, "dtype": "float32", "layout": "NK"}


def test_a_program_of_any_size_costs_what_is_not_known(tmp_path):
    side = torch.export.Dim("side", min=4, max=64)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64), 2: side, 3: side},)
    network, example = torch.nn.Conv2d(3, 4, 3, padding=1).eval(), (torch.zeros(2, 3, 8, 8),)
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(network, example, dynamic_shapes=dynamic), path)
    facts = describe_program(path)
    assert (facts["macs"], facts["uncounted_operators"]) == (None, None)
    batch, channels, *sides = facts["outputs"][0]["shape"]
    assert (batch, channels) == ("batch", 4)
    assert all(isinstance(size, str) for size in sides)


def test_a_program_with_another_batch_built_in_costs_what_is_not_known(tmp_path):
    class Eight(BatchNormed):
        def forward(self, x):
            return super().forward(x).reshape(8, -1)

    facts = describe_program(saved(Eight().eval(), tmp_path / "net.pt2", batch=8))
    assert facts["macs"] is None
    assert facts["outputs"][0]["shape"] == [8, 5]


def test_several_answers_and_one_that_is_no_tensor(tmp_path):
    class Several(BatchNormed):
        def forward(self, x):
            logits = super().forward(x)
            return {"logits": logits, "first": logits.argmax(1), "scale": 2}

    facts = describe_program(saved(Several().eval(), tmp_path / "net.pt2"))
    assert [(output["shape"], output["dtype"]) for output in facts["outputs"]] == [
        (["batch", 5], "float32"),
        (["batch"], "int64"),
    ]
    assert facts["macs"] == BATCH_NORMED


def test_a_missing_file_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match="no such file"):
        describe(tmp_path / "absent.onnx")


damage = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8)


@pytest.mark.parametrize("name", ["student.int8.onnx", "student.int8.tflite"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=damage, cut=st.floats(0, 1), truncate=st.booleans())
def test_a_mutated_file_is_described_or_refused_never_a_traceback(
    exported, tmp_path, name, changes, cut, truncate
):
    content = bytearray((exported.folder / name).read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    if truncate:
        del content[int(cut * len(content)) :]
    path = tmp_path / name
    path.write_bytes(content)
    try:
        facts = describe(path)
    except BundleError as error:
        assert str(error).count("\n") == 0
    else:
        json.dumps(facts)


def test_altered_metadata_is_refused(exported, tmp_path):
    for name in ("student.onnx", "student.tflite"):
        content = (exported.folder / name).read_bytes()
        assert content.count(b'"labels"') == 1
        path = tmp_path / name
        path.write_bytes(content.replace(b'"labels": [\n    "0"', b'"labels": [\n    "9"'))
        with pytest.raises(BundleError, match="altered"):
            describe(path)


def test_the_embedded_record_is_a_part_of_the_record_beside():
    from edgekd.records import ExportedModel

    assert set(EmbeddedMetadata.model_fields) <= set(ExportedModel.model_fields)
