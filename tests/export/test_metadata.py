import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from tiny_models import write_onnx, write_tflite

from edgekd.export.metadata import (
    KEY,
    EmbeddedMetadata,
    embed_in_onnx,
    embed_in_tflite,
    read_metadata,
)
from edgekd.records import ImageInput, Preprocess

RECORD = EmbeddedMetadata(
    labels=("stop", "Vorfahrt gewähren", "止まれ"),
    preprocess=Preprocess(
        inputs=(ImageInput(channels=3, height=2, width=2, mean=(0.5,) * 3, std=(0.25,) * 3),)
    ),
    input_encoding="uint8",
    source_sha256="0" * 64,
    versions={"edgekd": "1"},
    provenance=None,
)


def embed(path, record):
    if path.suffix == ".onnx":
        model = onnx.load(path)
        embed_in_onnx(model, record)
        onnx.save(model, path)
    else:
        path.write_bytes(embed_in_tflite(path.read_bytes(), record))


@pytest.mark.parametrize(("name", "write"), [("m.onnx", write_onnx), ("m.tflite", write_tflite)])
def test_what_is_put_in_comes_out(tmp_path, name, write):
    path = write(tmp_path / name)
    assert read_metadata(path) is None
    embed(path, RECORD)
    assert read_metadata(path) == RECORD


def test_an_earlier_record_is_replaced_and_other_properties_stay(tmp_path):
    path = write_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="author", value="someone")
    onnx.save(model, path)
    embed(path, RECORD)
    embed(path, RECORD.model_copy(update={"labels": ("a", "b", "c")}))
    assert sorted(item.key for item in onnx.load(path).metadata_props) == ["author", KEY]
    assert read_metadata(path).labels == ("a", "b", "c")


def test_a_file_with_a_record_still_runs_and_answers_the_same(tmp_path):
    path = write_tflite(tmp_path / "m.tflite")
    x = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    answers = []
    for record in (None, RECORD):
        if record is not None:
            embed(path, record)
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert np.array_equal(*answers)


def test_tensors_are_named_as_the_signature_names_them(exported):
    interpreter = Interpreter(str(exported.folder / "student.tflite"), num_threads=1)
    (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["name"], logits["name"]) == ("image", "logits")
