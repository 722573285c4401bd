"""``describe`` on files of ours, of others, and on damaged ones."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import write_onnx, write_tflite

from edgekd.errors import BundleError
from edgekd.export.describe import describe
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
