import json
import threading

import numpy as np
import pytest
import torch
from tiny_bundle import write_tiny_bundle
from tiny_models import BIAS, WEIGHTS

from edgekd.bench.run import MEASUREMENTS_FILE, bench, rows
from edgekd.bench.unfinished import UNFINISHED_FILE
from edgekd.bundle import append_record, from_json
from edgekd.config import BenchRecipe, DataRecipe
from edgekd.data.open import open_dataset
from edgekd.errors import BundleError, DataError, DeviceError, InterruptedRun, UsageError
from edgekd.records import ImageInput, Measurement, Preprocess, Provenance

IMAGE = ImageInput(channels=3, height=2, width=2, mean=(0.5,) * 3, std=(0.25,) * 3)
QUICK = {"num_calls": 100, "min_seconds": 0.0, "num_warmup": 2}
CONTRACT = {
    "file", "format", "precision", "device", "num_threads", "p50_ms", "p90_ms", "p99_ms",
    "cold_start_ms", "peak_rss_bytes", "size_bytes", "metric",
}  # fmt: skip


def provenance(data, recipe=None):
    return Provenance(
        data=data, teacher=None, recipe=recipe or {}, seed=0, versions={}, commit=None, machine="m",
        num_threads=1, precision="fp32", train_seconds=0.0, created="2026-01-01",
    )  # fmt: skip


def told(console):
    """What was said about the data; how busy the machine was does not matter here."""
    return [text for text in console.warnings if "made from" in text]


def stored(folder):
    lines = (folder / MEASUREMENTS_FILE).read_bytes().splitlines()
    return [from_json(Measurement, line, source="line") for line in lines]


def test_both_formats_are_measured_with_the_metric_numpy_finds(exported, pixels, console):
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), **QUICK)
    onnx, tflite = bench([exported], recipe, console)

    test = open_dataset(DataRecipe(data=str(pixels), split=(0.2, 0.3)), console).splits["test"]
    x = (test.load(None, IMAGE) / 255 - 0.5) / 0.25
    for measured, flat in ((onnx, x.transpose(0, 3, 1, 2)), (tflite, x)):
        logits = flat.reshape(len(x), -1) @ WEIGHTS.T + BIAS
        assert measured.metric.value == np.mean(logits.argmax(1) == test.labels)
        assert measured.metric.num_samples == len(test)
    assert stored(exported) == [onnx, tflite]
    assert console.tracker.done == console.tracker.total == len(test) + 1
    assert "threads of every runtime: 1" in console.infos[0]


def test_rows_are_the_contract_of_the_command_line(exported, console):
    measurements = bench([exported], BenchRecipe(num_threads=(1, 2), **QUICK), console)
    found = json.loads(json.dumps(rows(measurements)))
    assert [(row["file"], row["num_threads"]) for row in found] == [
        ("student.onnx", 1), ("student.onnx", 2), ("student.tflite", 1), ("student.tflite", 2),
    ]  # fmt: skip
    for row in found:
        assert row.keys() >= CONTRACT
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["cold_start_ms"] > 0
        assert row["metric"] is None
        assert row["encode_ms"] > 0
    assert found[0]["size_bytes"] == (exported / "student.onnx").stat().st_size


def test_a_second_bench_appends(exported, console):
    recipe = BenchRecipe(**QUICK)
    first = bench([exported / "student.tflite"], recipe, console)
    second = bench([exported / "student.tflite"], recipe, console)
    assert stored(exported) == [*first, *second]


def test_a_bare_file_has_a_precision_but_no_metric(exported, bare, pixels, console):
    path = bare.write_tflite(exported / "other.tflite", "int8-static")
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), **QUICK)
    (measured,) = bench([path], recipe, console)
    assert (measured.precision, measured.metric, measured.encode_ns) == ("int8-static", None, None)
    assert rows([measured])[0]["encode_ms"] is None
    assert "no record beside it" in console.warnings[0]


def test_data_with_other_classes_is_refused_before_anything_is_measured(
    exported, bare, pixels, console
):
    bare.describe(exported / "student.onnx", labels=("a", "b", "z"))
    with pytest.raises(DataError, match="class 2 is 'c', the model's is 'z'"):
        bench([exported], BenchRecipe(data=str(pixels), split=(0.2, 0.3), **QUICK), console)
    assert not (exported / MEASUREMENTS_FILE).exists()


def test_what_was_measured_before_a_damaged_file_is_kept(exported, console):
    (exported / "z.tflite").write_bytes(b"not a model")
    with pytest.raises(BundleError, match=r"z\.tflite: litert cannot load it"):
        bench([exported], BenchRecipe(**QUICK), console)
    assert [m.file for m in stored(exported)] == ["student.onnx", "student.tflite"]


def test_a_device_that_is_not_known_is_refused(exported, console, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match="unknown device 'pie'"):
        bench([exported], BenchRecipe(device="pie", **QUICK), console)


def test_a_part_of_the_samples_is_drawn_the_same_each_time(exported, pixels, console):
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), num_samples=7, **QUICK)
    (measured,) = bench([exported / "student.onnx"], recipe, console)
    test = open_dataset(recipe, console).splits["test"]
    rows = np.sort(np.random.default_rng(0).permutation(len(test))[:7])
    x = (test.load(rows, IMAGE) / 255 - 0.5) / 0.25
    logits = x.transpose(0, 3, 1, 2).reshape(7, -1) @ WEIGHTS.T + BIAS
    assert measured.metric.num_samples == 7
    assert measured.metric.value == np.mean(logits.argmax(1) == test.labels[rows])


def test_other_data_than_the_files_were_made_from_is_told(exported, bare, pixels, console):
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), **QUICK)
    made_from = open_dataset(recipe, console).ref()
    file = exported / "student.onnx"
    bare.describe(file, provenance=provenance(made_from))
    (measured,) = bench([file], recipe, console)
    assert measured.data == made_from
    assert told(console) == []
    (again,) = bench([file], BenchRecipe(data=str(pixels), split=(0.2, 0.2), **QUICK), console)
    assert again.data.fingerprint != made_from.fingerprint
    (warning,) = told(console)
    assert warning.startswith(f"student.onnx: made from {pixels}; --data {pixels} holds other")
    (without,) = bench([file], BenchRecipe(**QUICK), console)
    assert (without.metric, without.data) == (None, None)


def test_the_data_are_split_as_in_training(exported, bare, pixels, console):
    trained = DataRecipe(data=str(pixels), split=(0.2, 0.3))
    made_from = open_dataset(trained, console).ref()
    recipe = trained.model_dump(mode="json")
    for name in ("student.onnx", "student.tflite"):
        bare.describe(exported / name, provenance=provenance(made_from, recipe))
    measured = bench([exported], BenchRecipe(data=str(pixels), **QUICK), console)
    assert [m.data for m in measured] == [made_from, made_from]
    assert measured[0].metric.num_samples == made_from.num_samples["test"]
    assert told(console) == []
    assert f"{pixels}: split as in training, --split 0.2,0.3 (give a flag" in " ".join(
        console.infos
    )


def test_files_of_several_trainings_are_measured_on_one_split_and_told_apart(
    exported, bare, pixels, console
):
    for name, split in (("student.onnx", (0.2, 0.3)), ("student.tflite", (0.2, 0.2))):
        trained = DataRecipe(data=str(pixels), split=split)
        origin = provenance(open_dataset(trained, console).ref(), trained.model_dump(mode="json"))
        bare.describe(exported / name, provenance=origin)
    onnx, tflite = bench([exported], BenchRecipe(data=str(pixels), **QUICK), console)
    usual = open_dataset(DataRecipe(data=str(pixels)), console).ref()
    assert (onnx.data, tflite.data) == (usual, usual)
    (warning,) = told(console)
    assert warning.startswith("student.onnx and 1 more: made from")


def test_after_a_failure_only_the_rest_is_measured(exported, console):
    recipe = BenchRecipe(**QUICK)
    broken = exported / "z.tflite"
    broken.write_bytes(b"not a model")
    with pytest.raises(BundleError):
        bench([exported], recipe, console)
    assert console.warnings[-1].startswith("measured and kept: student.onnx on local (1 thread(s))")
    before = stored(exported)
    broken.write_bytes((exported / "student.tflite").read_bytes())
    first, second, third = bench([exported], recipe, console)
    assert [first, second] == before  # the very same measurements
    assert stored(exported) == [*before, third]
    assert not (exported / UNFINISHED_FILE).exists()
    assert "2 measured before" in " ".join(console.infos)


def test_after_a_failure_another_recipe_measures_all(exported, console):
    (exported / "z.tflite").write_bytes(b"not a model")
    for calls, expected in ((100, 2), (101, 4)):
        with pytest.raises(BundleError):
            bench([exported], BenchRecipe(**{**QUICK, "num_calls": calls}), console)
        assert len(stored(exported)) == expected


def test_ctrl_c_says_what_is_kept(exported, console, monkeypatch):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgekd.bench.measure.warn_about", press)
    with pytest.raises(InterruptedRun, match=r"kept: student\.onnx on local .*measures the rest"):
        bench([exported], BenchRecipe(**QUICK), console)
    assert len(stored(exported)) == 1


def test_heat_is_measured_over_the_time_asked_for(exported, console):
    recipe = BenchRecipe(sustain_seconds=0.5, **QUICK)
    (measured,) = bench([exported / "student.tflite"], recipe, console)
    assert measured.sustained.seconds >= 0.5
    assert 1 < len(measured.sustained.points) <= 100
    assert rows([measured])[0]["sustained"]["first_p50_ns"] > 0
    assert measured.energy is not None or measured.energy_unknown


def test_the_baseline_is_the_bundle_in_torch(exported, tmp_path, pixels, console):
    folder = tmp_path / "student"
    module = write_tiny_bundle(folder, Preprocess(inputs=(IMAGE,)), ("a", "b", "c"))
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), baseline=True, **QUICK)
    onnx, baseline = bench([exported / "student.onnx", folder], recipe, console)
    test = open_dataset(recipe, console).splits["test"]
    x = (test.load(None, IMAGE) / 255 - 0.5) / 0.25
    with torch.inference_mode():
        logits = module(torch.from_numpy(x.astype(np.float32).transpose(0, 3, 1, 2).copy()))
    assert baseline.metric.value == np.mean(logits.argmax(1).numpy() == test.labels)
    assert (baseline.format, baseline.precision, baseline.file) == ("torch", "fp32", "student")
    assert baseline.runtime.startswith("torch ")
    assert stored(folder) == [baseline]
    assert stored(exported) == [onnx]


def test_records_appended_at_once_are_all_there(exported, console):
    (measured,) = bench([exported / "student.tflite"], BenchRecipe(**QUICK), console)
    target = exported / "many.jsonl"
    threads = [threading.Thread(target=append_record, args=(target, measured)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = target.read_bytes().splitlines()
    assert [from_json(Measurement, line, source="x") for line in lines] == [measured] * 8


def test_an_input_that_no_model_has_is_refused_before_anything_is_measured(
    exported, pixels, console
):
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), missing=("acc",), **QUICK)
    with pytest.raises(UsageError, match=r"--missing acc: student\.onnx takes image"):
        bench([exported], recipe, console)
    assert not (exported / MEASUREMENTS_FILE).exists()


def test_nothing_is_missing_where_nothing_is_scored(exported, bare, pixels, console):
    """A file without a record is fed random tensors, whatever is missing elsewhere."""
    path = bare.write_tflite(exported / "other.tflite")
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3), missing=("acc",), **QUICK)
    (measured,) = bench([path], recipe, console)
    assert (measured.metric, measured.missing) == (None, ())
