import onnx
import pytest
from tiny_models import write_onnx

from edgekd.errors import BundleError
from edgekd.export.audit.onnx_reading import read_onnx


@pytest.mark.parametrize("text", [b"secret", b"linear"])
def test_text_that_is_no_text_is_damage(tmp_path, text):
    path = write_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.node[0].name = "linear"
    model.metadata_props.add(key="edgekd", value="secret")
    content = model.SerializeToString()
    assert content.count(text) >= 1
    path.write_bytes(content.replace(text, b"\xff" * len(text)))
    with pytest.raises(BundleError, match="is not text"):
        read_onnx(path)


def test_another_files_data_is_never_read(tmp_path):
    path = write_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weight, location="../../etc/passwd")
    weight.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError):
        read_onnx(path)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x08\x07" * 50])
def test_what_is_not_onnx_is_a_bundle_error(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="not a valid ONNX file"):
        read_onnx(path)
