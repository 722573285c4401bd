import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgekd.bundle import sha256_of, to_json
from edgekd.errors import BundleError, MissingExtraError, ModelError
from edgekd.records import (
    ExportedModel,
    ImageInput,
    OperatorAudit,
    Parity,
    Preprocess,
    TensorSpec,
)
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]
WEIGHTS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
PLAIN = "#mean=0#std=1"


def write(
    path: Path, *, batch: int | str = "batch", layout: str = "NCHW", dtype: str = "float32"
) -> Path:
    """Logits are ``WEIGHTS`` times the mean colour."""
    shape = {"NCHW": [batch, 3, 16, 16], "NHWC": [batch, 16, 16, 3]}[layout]
    element = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": 7}[dtype]
    axes = np.array([2, 3] if layout == "NCHW" else [1, 2])
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        ],
        "net",
        [helper.make_tensor_value_info("image", element, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(WEIGHTS.T, "weights"), numpy_helper.from_array(axes, "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, path)
    return path


def describe(path: Path, image: ImageInput, labels: tuple[str, ...]) -> None:
    """Write the record that edgekd puts beside a file."""
    audit = OperatorAudit(
        int8_macs_share=0.0, int8_operators={}, float_operators={}, num_transposes=0
    )
    parity = Parity(
        num_samples=1,
        batch_sizes=(1,),
        split=None,
        max_abs_err=0.0,
        tolerance=None,
        sqnr_db=None,
        top1_agreement=1.0,
        metric_drop=None,
    )
    record = ExportedModel(
        file=path.name,
        format="onnx",
        precision="fp32",
        sha256=sha256_of(path),
        size_bytes=path.stat().st_size,
        num_params=15,
        macs=99,
        inputs=(TensorSpec(name="image", shape=(1, 3, 16, 16), dtype="float32", layout="NCHW"),),
        outputs=(TensorSpec(name="logits", shape=(1, 5), dtype="float32", layout="NK"),),
        input_encoding="float32",
        int8_macs_share=0.0,
        audit=audit,
        parity=parity,
        preprocess=Preprocess(inputs=(image,)),
        labels=labels,
        source_sha256="s",
        metrics=(),
        versions={},
        provenance=None,
    )
    path.with_name(f"{path.name}.json").write_bytes(to_json(record))


def expected(view: torch.Tensor) -> np.ndarray:
    return np.asarray(view).mean(axis=(2, 3)) @ WEIGHTS.T


@pytest.mark.parametrize("batch", ["batch", 1, 2])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_any_batch_and_layout(
    batch: int | str, layout: str, tmp_path: Path, opened: Opened, view: torch.Tensor
) -> None:
    path = write(tmp_path / "net.onnx", batch=batch, layout=layout)
    teacher = opened(f"{path}{PLAIN}")
    np.testing.assert_allclose(teacher(view).logits.numpy(), expected(view), rtol=1e-4, atol=1e-5)
    assert (teacher.ref.kind, teacher.ref.sha256) == ("onnx", sha256_of(path))


def test_the_datas_normalisation_without_a_record(
    tmp_path: Path, opened: Opened, view: torch.Tensor, normalised: torch.Tensor
) -> None:
    logits = opened(write(tmp_path / "net.onnx"))(view).logits.numpy()
    np.testing.assert_allclose(logits, expected(normalised), rtol=1e-4, atol=1e-5)


def test_the_records_normalisation(
    tmp_path: Path,
    opened: Opened,
    view: torch.Tensor,
    image: ImageInput,
    classes: tuple[str, ...],
) -> None:
    path = write(tmp_path / "net.onnx")
    plain = image.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})
    describe(path, plain, classes)
    teacher = opened(path)
    np.testing.assert_allclose(teacher(view).logits.numpy(), expected(view), rtol=1e-4, atol=1e-5)
    assert (teacher.ref.num_params, teacher.ref.macs) == (15, 99)
    with pytest.raises(ModelError, match="brings its own normalisation"):
        opened(f"{path}{PLAIN}")


def test_the_records_labels(tmp_path: Path, opened: Opened, image: ImageInput) -> None:
    path = write(tmp_path / "net.onnx")
    describe(path, image, ("ant", "bee", "cat", "eel", "dog"))
    with pytest.raises(ModelError, match="its class 3 is 'eel', the data's is 'dog'"):
        opened(path)


def test_a_record_of_another_file(
    tmp_path: Path, opened: Opened, image: ImageInput, classes: tuple[str, ...]
) -> None:
    path = write(tmp_path / "net.onnx")
    describe(path, image, classes)
    write(path, batch=3)
    with pytest.raises(BundleError, match=r"not the file that net.onnx.json describes"):
        opened(path)


def test_raw_pixels(tmp_path: Path, opened: Opened) -> None:
    teacher = opened(write(tmp_path / "net.onnx", dtype="uint8"))
    pixels = torch.randint(0, 256, (2, 3, 16, 16)).float()
    logits = teacher(pixels / 255).logits.numpy()
    np.testing.assert_allclose(logits, expected(pixels), rtol=1e-5, atol=1e-3)


def test_an_input_that_is_no_image(tmp_path: Path, opened: Opened) -> None:
    with pytest.raises(ModelError, match="its input is int64"):
        opened(write(tmp_path / "net.onnx", dtype="int64"))


def write_for_one_size(path: Path, size: int) -> Path:
    """Its sides are dynamic by name; a flattened image of another size fits no weights."""
    weights = np.ones((3 * size * size, 5), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
        ],
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "h", "w"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, path)
    return path


def test_a_file_that_loads_but_does_not_run(
    tmp_path: Path, opened: Opened, view: torch.Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    fits = opened(f"{write_for_one_size(tmp_path / 'net.onnx', 16)}{PLAIN}")
    np.testing.assert_allclose(
        fits(view).logits.numpy(), np.asarray(view.sum((1, 2, 3)))[:, None].repeat(5, 1), rtol=1e-4
    )
    path = write_for_one_size(tmp_path / "net.onnx", 8)
    with pytest.raises(ModelError) as failure:
        opened(path)
    assert str(failure.value).startswith(
        f"teacher {path}: ONNX Runtime does not run it on a batch of (4, 3, 16, 16) ("
    )
    assert str(failure.value).endswith(
        "export it for this input size, with a dynamic or any fixed batch"
    )
    assert "\n" not in str(failure.value)
    assert capfd.readouterr().err == ""  # nor a word from ONNX Runtime itself


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_damaged_file(content: bytes, tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(BundleError):
        opened(tmp_path / "net.onnx")


def test_without_onnx_runtime(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "edgekd.runtimes.onnx_runtime", raising=False)
    monkeypatch.delattr("edgekd.runtimes.onnx_runtime", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgekd\[bench\]'"):
        opened(write(tmp_path / "net.onnx"))
