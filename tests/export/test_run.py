import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from program_file import BatchNormed, BatchOfOne, saved

from edgekd.bundle import read_bundle, read_record, sha256_of
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.errors import ParityError
from edgekd.export import run
from edgekd.export.run import export, rows
from edgekd.export.samples import gather_samples
from edgekd.records import ExportedModel
from edgekd.students.count import count_cost

FILES = ["student.onnx", "student.int8.onnx", "student.tflite", "student.int8.tflite"]
FP32 = [name for name in FILES if "int8" not in name]
INT8 = [name for name in FILES if "int8" in name]
MEAN, STD = 0.305, 0.376  # of the fixture's preprocess


@pytest.fixture(scope="session")
def val():
    return open_dataset(ExportRecipe(data="builtin:digits"), SilentConsole()).splits["val"]


@pytest.fixture(scope="session")
def pixels(val, exported):
    """20 held-out digits, ``(20, 8, 8, 1)``."""
    spec = exported.models["student.onnx"].preprocess.image
    return val.load(np.arange(20), spec)


def normalised(pixels):
    return ((pixels / 255 - MEAN) / STD).astype(np.float32)


def torch_logits(student, pixels):
    with torch.no_grad():
        return student.module(torch.from_numpy(normalised(pixels).transpose(0, 3, 1, 2))).numpy()


def file_logits(path, pixels, batch):
    """Straight through the runtimes' own interfaces, without edgekd's sessions."""
    x = normalised(pixels)
    if path.suffix == ".onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        nchw = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        parts = [
            session.run(["logits"], {"image": nchw[i : i + batch]})[0]
            for i in range(0, len(x), batch)
        ]
        return np.concatenate(parts)
    interpreter = Interpreter(str(path), num_threads=1)
    runner = interpreter.get_signature_runner()
    return np.concatenate([runner(image=x[i : i + 1])["logits"] for i in range(len(x))])


def test_every_file_lies_beside_its_record(exported):
    recipes = [f"{name}.recipe.json" for name in INT8]
    expected = sorted(FILES + recipes + [f"{name}.json" for name in FILES])
    assert sorted(path.name for path in exported.folder.iterdir()) == expected
    for name in FILES:
        record = read_record(ExportedModel, exported.folder / f"{name}.json")
        assert record == exported.models[name]
        assert record.sha256 == sha256_of(exported.folder / name)
        assert record.size_bytes == (exported.folder / name).stat().st_size


@pytest.mark.parametrize(
    ("name", "batch"),
    [("student.onnx", 1), ("student.onnx", 3), ("student.onnx", 20), ("student.tflite", 1)],
)
def test_an_fp32_file_answers_as_torch_does(exported, student, pixels, name, batch):
    expected = torch_logits(student, pixels)
    found = file_logits(exported.folder / name, pixels, batch)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", INT8)
def test_an_int8_file_is_close_and_computes_in_int8(exported, student, pixels, name):
    expected = torch_logits(student, pixels)
    noise = file_logits(exported.folder / name, pixels, 1) - expected
    assert 10 * np.log10((expected**2).sum() / (noise**2).sum()) > 20
    model = exported.models[name]
    assert (model.precision, model.int8_macs_share) == ("int8-static", 1.0)
    assert model.audit.float_operators.keys() <= {"ReduceMean", "Reshape", "GlobalAveragePool"}
    assert model.audit.num_transposes == 0


def test_both_int8_files_come_from_the_same_ranges(exported, pixels):
    a, b = (file_logits(exported.folder / name, pixels, 1) for name in INT8)
    assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_the_recorded_parity_is_what_the_files_show(exported, student, val):
    spec = exported.models["student.onnx"].preprocess.image
    rows = np.sort(np.random.default_rng(0).permutation(len(val))[:40])
    pixels, labels = val.load(rows, spec), val.labels[rows]
    expected = torch_logits(student, pixels)
    for name in ("student.onnx", "student.int8.tflite"):
        found, parity = file_logits(exported.folder / name, pixels, 1), exported.models[name].parity
        assert (parity.num_samples, parity.split) == (40, "val")
        assert parity.max_abs_err == pytest.approx(
            np.abs(found - expected).max(), rel=0.05, abs=1e-6
        )
        agreement = (found.argmax(1) == expected.argmax(1)).mean()
        assert parity.top1_agreement == pytest.approx(agreement)
        (metric,) = exported.models[name].metrics
        assert metric.value == pytest.approx((found.argmax(1) == labels).mean())


@pytest.mark.parametrize("name", INT8)
def test_the_worst_layers_are_judged_on_the_held_out_samples(exported, name):
    layers = exported.models[name].layer_errors
    assert [layer.sqnr_db for layer in layers] == sorted(layer.sqnr_db for layer in layers)
    drops = [layer.metric_drop for layer in layers]
    assert None not in drops[:8]
    assert set(drops[8:]) <= {None}
    hits = [40 * drop for drop in drops[:8]]
    assert hits == pytest.approx([round(hit) for hit in hits])


def test_parameters_and_macs_are_those_of_the_folded_network(exported, student):
    cost = count_cost(student.module, [(1, 8, 8)])
    norms = [p for p in student.module.modules() if isinstance(p, torch.nn.BatchNorm2d)]
    affine = sum(2 * norm.num_features for norm in norms)
    for model in exported.models.values():
        assert model.macs == cost.macs
        # gamma and beta go, one bias per channel comes
        assert model.num_params == cost.num_params - affine // 2


def test_inputs_are_described_with_layout_and_type(exported):
    for name in FILES:
        (image,), (logits,) = exported.models[name].inputs, exported.models[name].outputs
        onnx_file = ".onnx" in name
        assert (image.name, logits.name) == ("image", "logits")
        assert image.dtype == logits.dtype == "float32"
        assert image.layout == ("NCHW" if onnx_file else "NHWC")
        assert image.shape == (("batch", 1, 8, 8) if onnx_file else (1, 8, 8, 1))


def test_an_onnx_file_passes_the_checker(exported):
    for name in ("student.onnx", "student.int8.onnx"):
        onnx.checker.check_model(onnx.load(exported.folder / name), full_check=True)


def test_rows_have_the_names_that_are_promised(exported):
    for row in json.loads(json.dumps(rows(list(exported.models.values())))):
        promised = {"file", "format", "precision", "size_bytes", "int8_macs_share", "parity"}
        assert promised <= row.keys()
        figures = {"max_abs_err", "sqnr_db", "top1_agreement", "metric_drop", "num_samples"}
        assert figures <= row["parity"].keys()


def test_the_same_export_twice_gives_the_same_bytes(exported, student, tmp_path):
    recipe = ExportRecipe(
        data="builtin:digits", int8="full", formats=("onnx",), num_calibration=64,
        num_parity=40, min_agreement=0.5, max_drop_points=100.0,
    )  # fmt: skip
    for model in export(student.folder, tmp_path, recipe):
        assert model.sha256 == exported.models[model.file].sha256


@pytest.mark.filterwarnings("ignore:.*nothing within the error budget")  # tiny: int8 may not pay
def test_a_searched_file_is_made_again_from_its_recipe_byte_for_byte(
    student, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gate = {"min_agreement": 0.5, "max_drop_points": 100.0, "num_parity": 40}
    searched = ExportRecipe(
        data="builtin:digits", int8="fast", num_calibration=32, search_seconds=0, **gate
    )
    models = export(student.folder, tmp_path / "a", searched)
    assert [model.file for model in models] == FILES
    for model in models[1::2]:
        assert model.precision.startswith("int8-")
        assert model.size_bytes < models[0].size_bytes
    recipes = tuple(str(tmp_path / "a" / f"{name}.recipe.json") for name in INT8)
    # limits that no int8 file keeps: without data the same bytes are not judged again
    strict = {"min_agreement": 1.0, "min_sqnr_db": 150.0}
    again = export(student.folder, tmp_path / "b", ExportRecipe(int8_recipe=recipes, **strict))
    assert [model.sha256 for model in again] == [model.sha256 for model in models]
    assert "without data it was not judged again" in again[1].notes[-1]
    with pytest.raises(ParityError, match="required is 150 dB"):
        judged = ExportRecipe(int8_recipe=recipes, data="builtin:digits", num_parity=40, **strict)
        export(student.folder, tmp_path / "c", judged)


def test_the_network_stays_as_it_is_where_adjustments_are_switched_off(student):
    recipe = ExportRecipe(data="builtin:digits", int8="full", num_calibration=16, num_parity=8)
    record = read_bundle(student.folder)
    samples = gather_samples(record, student.module, recipe, SilentConsole())
    assert run._adjuster(student.module, samples, recipe) is not None
    without = recipe.model_copy(update={"adjustments": False})
    assert run._adjuster(student.module, samples, without) is None


def test_raw_pixels_in_give_the_same_answers_out(student, pixels, tmp_path):
    recipe = ExportRecipe(formats=("onnx",), input_encoding="uint8")
    (model,) = export(student.folder, tmp_path, recipe)
    assert (model.inputs[0].dtype, model.input_encoding) == ("uint8", "uint8")
    assert (model.parity.split, model.parity.metric_drop, model.metrics) == (None, None, ())
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx")
    found = session.run(["logits"], {"image": np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
    expected = torch_logits(student, pixels)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("kind", "batch"), [(BatchNormed, None), (BatchOfOne, 1)])
def test_a_program_goes_the_same_way(kind, batch, tmp_path):
    network = kind(channels=1, num_classes=10).eval()
    path = saved(network, tmp_path / "net.pt2", batch=batch, shape=(1, 8, 8))
    recipe = ExportRecipe(
        data="builtin:digits", int8="full", num_calibration=32, num_parity=20, min_agreement=0.0,
        max_drop_points=100.0, min_sqnr_db=10.0, reference_kernels=False,
    )  # fmt: skip
    models = export(Path(f"{path}#mean=0.3#std=0.4"), tmp_path / "out", recipe)
    assert [model.file for model in models] == FILES
    assert all(model.labels == tuple("0123456789") for model in models)
    assert models[1].precision == models[3].precision == "int8-static"
    assert models[0].parity.batch_sizes == ((1, 3) if batch is None else (1,))
    assert models[0].source_sha256 == sha256_of(path)
    axis = models[0].inputs[0].shape[0]
    assert axis == ("batch" if batch is None else 1)
    image = np.random.default_rng(0).standard_normal((1, 1, 8, 8), np.float32)
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "student.onnx", providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(session.run(None, {"image": image})[0], expected, rtol=1e-3)
