import json
from pathlib import Path

import pytest

from edgekd.cli.main import main_inner

ROW = {
    "file": "student.int8.onnx", "format": "onnx", "precision": "int8-static",
    "size_bytes": 91_234, "int8_macs_share": 0.985,
    "parity": {
        "max_abs_err": 0.1234, "sqnr_db": 28.44, "top1_agreement": 0.992, "metric_drop": 0.004,
        "num_samples": 250, "split": "val",
    },
}  # fmt: skip
EQUAL = {
    **ROW,
    "file": "student.onnx",
    "precision": "fp32",
    "parity": {**ROW["parity"], "sqnr_db": None, "metric_drop": None},
}


@pytest.fixture
def calls(fake_stage):
    seen = []

    def export(bundle_folder, output, recipe, console, *, recover, overwrite):
        seen.append((bundle_folder, output, recipe))
        assert overwrite == (output.name == "again")
        assert (recover is training) == bool(recipe.recovery.epochs)
        return (EQUAL, ROW)

    fake_stage("edgekd.export.run", export=export, rows=list)
    fake_stage("edgekd.distill.recover", recover=training)
    return seen


def training(*_, **__):
    raise AssertionError("the command line hands the training on, it never trains")


def test_flags_reach_the_stage(calls, capsys):
    flags = ["--format", "onnx", "--int8", "--input", "uint8", "--no-channel-last"]
    data = ["--data", "signs.zip", "--num-calibration", "64"]
    assert main_inner(["export", "runs/s", *flags, *data, "-o", "out", "--json"]) == 0
    ((folder, output, recipe),) = calls
    assert (folder, output) == (Path("runs/s"), Path("out"))
    assert (recipe.formats, recipe.int8, recipe.input_encoding) == (("onnx",), "fast", "uint8")
    assert (recipe.channel_last, recipe.num_calibration) == (False, 64)
    assert json.loads(capsys.readouterr().out) == [EQUAL, ROW]


def test_files_of_another_student_are_replaced_where_that_is_asked_for(calls):
    assert main_inner(["export", "runs/s", "-o", "again", "--overwrite"]) == 0
    assert calls[0][1] == Path("again")


@pytest.mark.parametrize("word", ["fast", "full", "weights", "dynamic"])
def test_a_kind_of_int8_by_name(calls, word):
    assert main_inner(["export", "runs/s", "--int8", word, "-o", "out"]) == 0
    assert calls[0][2].int8 == word


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--int8", "runs/s"], "fast"),
        (["runs/s", "--int8"], "fast"),
        (["--int8", "--format", "onnx", "runs/s"], "fast"),
        (["--int8", "full", "runs/s"], "full"),
        (["--int8=full", "runs/s"], "full"),
        (["runs/s", "--int8=weights"], "weights"),
    ],
)
def test_the_source_may_stand_behind_a_bare_int8(calls, arguments, word):
    assert main_inner(["export", *arguments, "--data", "signs.zip", "-o", "out"]) == 0
    assert (calls[0][0], calls[0][2].int8) == (Path("runs/s"), word)


def test_int8_without_any_source_is_exit_code_2(calls, capsys):
    assert main_inner(["export", "--int8", "full", "-o", "out"]) == 2
    assert "BUNDLE" in capsys.readouterr().err
    assert not calls


def test_an_unknown_kind_of_int8_before_the_source_is_exit_code_2(calls, capsys):
    assert main_inner(["export", "--int8", "fulll", "runs/s", "-o", "out"]) == 2
    assert "--int8 fulll: should be" in capsys.readouterr().err


def test_an_unknown_kind_of_int8_is_exit_code_2(calls, capsys):
    assert main_inner(["export", "runs/s", "--int8", "fastest", "-o", "out"]) == 2
    assert "int8" in capsys.readouterr().err


def test_recipes_of_an_earlier_export_are_handed_on(calls):
    flags = ["--int8-recipe", "a.recipe.json", "--int8-recipe", "b.recipe.json", "--no-cache"]
    assert main_inner(["export", "runs/s", *flags, "-o", "out"]) == 0
    recipe = calls[0][2]
    assert recipe.int8_recipe == ("a.recipe.json", "b.recipe.json")
    assert (recipe.wants_int8, recipe.needs_calibration, recipe.cache) == (True, False, False)


def test_a_board_to_measure_on_and_more_time_for_it(calls, tmp_path):
    assert main_inner(["export", "s", "--int8", "--device", "rpi", "--wheels", "w", "-o", "o"]) == 0
    by_flag = calls[-1][2]
    assert (by_flag.device, by_flag.wheels, by_flag.search_seconds) == ("rpi", "w", 300)
    assert main_inner(["export", "s", "--int8", "--set", "device=rpi", "-o", "o"]) == 0
    assert calls[-1][2].device == "rpi"
    (tmp_path / "r.toml").write_text('device = "rpi"\nint8 = "fast"\nsearch_seconds = 5\n')
    assert main_inner(["export", "s", "--recipe", str(tmp_path / "r.toml"), "-o", "o"]) == 0
    assert (calls[-1][2].device, calls[-1][2].search_seconds) == ("rpi", 5)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([], "no int8 file is asked for"),
        (["--int8", "full"], "int8 full follows from the word alone"),
        (["--int8", "weights"], "int8 weights follows from the word alone"),
        (["--int8", "dynamic"], "int8 dynamic follows from the word alone"),
        (["--int8-recipe", "r.json"], "--int8-recipe makes a file again as it was"),
        (["--int8", "--int8-recipe", "r.json"], "--int8-recipe makes a file again as it was"),
    ],
)
def test_a_board_with_nothing_to_measure_is_exit_code_2(calls, capsys, flags, why):
    assert main_inner(["export", "runs/s", *flags, "--device", "rpi", "-o", "out"]) == 2
    said = capsys.readouterr().err
    assert f"there is nothing to measure: {why}" in said
    assert "leave the device out, or take --int8 fast" in said
    assert calls == []


def test_both_formats_in_fp32_by_default(calls):
    assert main_inner(["export", "runs/s", "-o", "out"]) == 0
    recipe = calls[0][2]
    assert (recipe.formats, recipe.int8, recipe.data) == (("onnx", "tflite"), None, None)


def test_a_person_sees_a_table(calls, capsys):
    assert main_inner(["export", "runs/s", "-o", "out"]) == 0
    _, equal, quantized = (line.split() for line in capsys.readouterr().out.splitlines())
    assert quantized == [
        "student.int8.onnx", "int8-static", "91.2", "kB", "98.50", "%", "0.12", "28.4",
        "99.20", "%", "0.40", "%,", "250", "val",
    ]  # fmt: skip
    assert equal[-3:] == ["equal", "99.20", "%"]  # no metric was asked for: an empty cell


def test_a_recovery_is_asked_for_with_its_epochs_and_settings(calls):
    flags = ["--int8", "--recover", "2", "--teacher", "runs/t", "--set", "recovery.lr=0.001"]
    assert main_inner(["export", "runs/s", *flags, "--max-drop", "0.5", "-o", "out"]) == 0
    recipe = calls[0][2]
    assert (recipe.recovery.epochs, recipe.recovery.teacher) == (2, "runs/t")
    assert (recipe.recovery.lr, recipe.max_drop_points) == (0.001, 0.5)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ("101", "--max-drop 101: should be at most 100"),
        ("-0.5", "--max-drop -0.5: should be at least 0"),
        ("nan", "--max-drop nan: should be "),
    ],
)
def test_a_loss_that_is_none_is_exit_code_2(calls, capsys, points, said):
    flags = ["--int8", f"--max-drop={points}"]
    assert main_inner(["export", "runs/s", *flags, "-o", "out"]) == 2
    assert said in capsys.readouterr().err
    assert not calls


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--recover", "2"], "it is for int8 fast or full"),
        (["--int8", "weights", "--recover", "2"], "it is for int8 fast or full"),
        (["--int8", "--int8-recipe", "a.json", "--recover", "2"], "give one of them"),
        (["--int8", "--recover", "-1"], "--recover -1: should be at least 0"),
        (["--int8", "--recover", "some"], "--recover some: should be a whole number"),
        (["--int8", "--set", "recovery.lr=0.1"], "nothing is trained; give --recover EPOCHS"),
        (["--int8", "--teacher", "runs/t"], "nothing is trained; give --recover EPOCHS"),
    ],
)
def test_a_recovery_that_cannot_be_is_a_fault_of_flags_or_recipe(calls, capsys, flags, said):
    assert main_inner(["export", "runs/s", *flags, "-o", "out"]) == (3 if "--set" in flags else 2)
    assert said in capsys.readouterr().err
    assert not calls


def test_int8_full_of_raw_pixels_is_refused_before_anything_is_converted(calls, capsys):
    assert main_inner(["export", "runs/s", "--int8", "full", "--input", "uint8", "-o", "out"]) == 2
    assert "take input float32, or int8 fast" in capsys.readouterr().err
    assert not calls


def test_a_person_sees_which_files_were_recovered(fake_stage, capsys):
    recovered = {**ROW, "recovery": {"epochs": 2}}
    fake_stage("edgekd.export.run", export=lambda *_, **__: (EQUAL, recovered), rows=list)
    assert main_inner(["export", "runs/s", "-o", "out"]) == 0
    assert "int8-static, recovered" in capsys.readouterr().out
