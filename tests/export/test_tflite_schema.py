import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from tiny_models import write_tflite

from edgekd.errors import BundleError
from edgekd.export.tflite_schema import operator_name, pack_tflite, parse_tflite, read_tflite


def answer(content, seed=0):
    interpreter = Interpreter(model_content=bytes(content), num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    x = np.random.default_rng(seed).standard_normal(details["shape"]).astype(np.float32)
    interpreter.set_tensor(details["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_a_repacked_file_gives_the_same_answer(tmp_path):
    content = write_tflite(tmp_path / "m.tflite").read_bytes()
    again = pack_tflite(parse_tflite(content, source="m"))
    assert np.array_equal(answer(content), answer(again))


def data_offsets(content):
    model = schema.Model.GetRootAs(content, 0)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    return [b._tab.Vector(b._tab.Offset(4)) for b in buffers if b.DataLength()]


def test_every_buffer_lies_on_16_bytes(tmp_path, exported):
    for path in (write_tflite(tmp_path / "m.tflite"), exported.folder / "student.int8.tflite"):
        offsets = data_offsets(pack_tflite(read_tflite(path)))
        assert len(offsets) >= 2
        assert all(offset % 16 == 0 for offset in offsets)


def test_published_files_are_aligned(exported):
    for name in ("student.tflite", "student.int8.tflite"):
        assert all(o % 16 == 0 for o in data_offsets((exported.folder / name).read_bytes()))


def moved_behind(content):
    """The same file with its largest buffer behind the flatbuffer, as large models are written."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    largest = max(model.buffers, key=lambda b: 0 if b.data is None else len(b.data))
    data = bytes(largest.data)
    largest.data, largest.offset, largest.size = None, 2, len(data)
    for _ in range(2):  # the first pass tells the size of what lies in front
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        packed = bytes(builder.Output())
        largest.offset = len(packed)
    return packed + data


def test_data_behind_the_flatbuffer_is_brought_back(tmp_path):
    content = write_tflite(tmp_path / "m.tflite").read_bytes()
    outside = moved_behind(content)
    again = pack_tflite(parse_tflite(outside, source="m"))
    assert np.array_equal(answer(content), answer(again))
    with pytest.raises(BundleError, match="damaged"):
        parse_tflite(outside[:-1], source="m")


def test_an_operator_over_127_is_named(tmp_path):
    model = read_tflite(write_tflite(tmp_path / "m.tflite"))
    code = model.operatorCodes[0]
    code.deprecatedBuiltinCode, code.builtinCode = 127, schema.BuiltinOperator.GELU
    assert operator_name(model, model.subgraphs[0].operators[0]) == "GELU"


def test_a_custom_operator_has_its_own_name(tmp_path):
    model = read_tflite(write_tflite(tmp_path / "m.tflite"))
    code = model.operatorCodes[0]
    code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"Secret"
    assert operator_name(model, model.subgraphs[0].operators[0]) == "Secret"
