import json
import shutil
import sys

import pytest
from finished_run import finish

from benchmarks.commands import ROOT, append, bundle, rows_of
from benchmarks.lsskd import cifar10
from benchmarks.lsskd.ablation import EQUAL_EPOCHS, EQUAL_TIME, REDUCED, Kind, Plan, Run
from benchmarks.lsskd.tables import teachers_file
from benchmarks.training import Training

QUARTER = Kind("labels-0.25", 0.25)


def plan(folder, **changes):
    given = {
        "data": folder / "cifar10.zip",
        "teacher": str(folder / "teacher-{fraction}-{seed}"),
        "runs": folder / "runs",
        "results": folder / "results.jsonl",
        "seeds": (0, 1),
        "fractions": (0.25,),
        "jobs": 1,
        "common": {},
        "changes": REDUCED,
    }
    return Plan(**(given | changes))


def finish_table(found, kind, **figures):
    for row in found.rows:
        for seed in found.seeds:
            finish(found.training(Run(kind, row, seed)), **figures)


def teacher(folder, **settings):
    file = ROOT / "models" / "lsskd-resnet20-cifar10" / "recipe.toml"
    finish(Training(file, {"data": "x", "method": "none", **settings}, folder))


def test_few_labels_take_as_many_steps_as_all_of_them(tmp_path):
    found = plan(tmp_path, teacher=None)
    whole = found.rows[-1]
    epochs = [
        found.training(Run(kind, whole, 0)).settings["epochs"] for kind in (QUARTER, EQUAL_EPOCHS)
    ]
    assert epochs == [20, 5]


def test_every_row_trains_for_as_long_as_the_whole_method_took(tmp_path):
    found = plan(tmp_path, teacher=None)
    finish_table(found, EQUAL_EPOCHS, minutes=10)
    for seed in found.seeds:
        rows = {row.name: row for row in found.rows}
        finish(found.training(Run(EQUAL_EPOCHS, rows["labels only"], seed)), minutes=2)
        finish(found.training(Run(EQUAL_EPOCHS, rows["PS-KD"], seed)), minutes=20)
        finish(found.training(Run(EQUAL_EPOCHS, rows["+ KL"], seed)), minutes=8.5)  # 6 epochs
    assert {(run.row.name, run.epochs) for run in cifar10.equal_time(found)} == {
        ("labels only", 25),  # 5 epochs took 2 of the 10 minutes
        ("PS-KD", 2),
    }
    assert all(run.kind == EQUAL_TIME for run in cifar10.equal_time(found))


def test_rows_that_no_processor_has_in_common_with_the_whole_method_stop_the_driver(tmp_path):
    found = plan(tmp_path, teacher=None)
    finish_table(found, EQUAL_EPOCHS)
    file = found.folder(EQUAL_EPOCHS, found.rows[0], 0) / "bundle.json"
    file.write_text(file.read_text().replace("some machine", "another machine"))
    with pytest.raises(SystemExit, match=r"'labels only' and '[+] features' were trained on diff"):
        cifar10.equal_time(found)


def test_the_record_of_a_teacher_lies_beside_the_results(tmp_path):
    found = plan(tmp_path)
    teacher(tmp_path / "teacher-1-0")
    run = Run(EQUAL_EPOCHS, found.rows[-1], 0)
    finish(found.training(run))
    for _ in range(2):
        cifar10.train(found, run)
    (noted,) = rows_of(teachers_file(found.results))
    assert noted["metrics"] == bundle(tmp_path / "teacher-1-0")["metrics"]


def test_without_data_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cifar10", "--quick", "--runs", str(tmp_path)])
    monkeypatch.setattr(cifar10, "train_all", lambda *_: pytest.fail("nothing may start"))
    cifar10.main()
    assert (tmp_path / "table-cifar10-quick.md").read_text() == ""


def test_a_run_of_another_setting_stops_the_driver_before_it_trains(tmp_path, monkeypatch):
    found = plan(tmp_path, teacher=None)
    last = cifar10.equal_epochs(found, EQUAL_EPOCHS)[-1]
    finish(found.training(last), epochs=1)
    monkeypatch.setattr(cifar10, "train", lambda *_: pytest.fail("nothing may start"))
    with pytest.raises(SystemExit, match="epochs: 1 -> 5"):
        cifar10.train_all(found, cifar10.equal_epochs(found, EQUAL_EPOCHS))


def test_a_network_trained_anew_is_a_row_of_its_own(tmp_path):
    for folder, weights in (("runs", "1" * 64), ("elsewhere", "2" * 64)):
        found = plan(tmp_path, teacher=None, runs=tmp_path / folder)
        run = cifar10.equal_epochs(found, EQUAL_EPOCHS)[0]
        finish(found.training(run), weights=weights)
        for _ in range(2):  # a driver that was started again
            cifar10.train(found, run)
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["weights_sha256"][0] for line in lines] == ["1", "2"]


def test_what_is_among_the_results_needs_no_folder(tmp_path, monkeypatch):
    found = plan(tmp_path, teacher=None)
    run = cifar10.equal_epochs(found, EQUAL_EPOCHS)[0]
    record = finish(found.training(run))
    cifar10.train(found, run)
    shutil.rmtree(found.training(run).folder)
    monkeypatch.setattr(Training, "run", lambda _: pytest.fail("another machine has trained it"))
    cifar10.train(found, run)
    assert cifar10.known(found, run)["metrics"] == record["metrics"]
    longer = plan(tmp_path, teacher=None, changes=REDUCED | {"epochs": 7})
    assert cifar10.known(longer, cifar10.equal_epochs(longer, EQUAL_EPOCHS)[0]) is None


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ((), "lsskd-cifar10"),
        (("--quick",), "lsskd-cifar10-quick"),
        (("--full",), "lsskd-cifar10-full"),
        (("--full", "--quick"), "lsskd-cifar10-full-quick"),
    ],
)
def test_every_setting_has_its_own_folder_and_files(monkeypatch, flags, name):
    monkeypatch.setattr(sys, "argv", ["cifar10", "--data", "x.zip", *flags])
    found, file = cifar10.parse()
    assert found.runs.name == name
    assert file.name == name.replace("lsskd", "table") + ".md"
    assert found.results.parent == file.parent
    assert (file.parent == found.runs) == ("--quick" in flags)


def test_a_teacher_that_is_not_there_is_an_error(monkeypatch, tmp_path, capsys):
    named = str(tmp_path / "teacher-{fraction}")
    monkeypatch.setattr(sys, "argv", ["cifar10", "--data", "x.zip", "--teacher", named])
    teacher(tmp_path / "teacher-1")
    with pytest.raises(SystemExit):
        cifar10.parse()
    assert f"no finished teacher in {tmp_path / 'teacher-0.25'}, " in capsys.readouterr().err


def test_each_table_is_written_as_soon_as_its_rows_are_there(tmp_path, monkeypatch, capsys):
    found, file = plan(tmp_path, teacher=None), tmp_path / "table.md"
    monkeypatch.setattr(cifar10, "parse", lambda: (found, file))
    seen = []

    def instead(plan, runs):
        for run in runs:
            append(plan.results, run.key, finish(plan.training(run), minutes=10))
        seen.append(file.read_text().split(":")[0] if file.exists() else None)

    monkeypatch.setattr(cifar10, "train_all", instead)
    cifar10.main()
    assert seen == [None, "equal-epochs", "equal-epochs"]
    captions = [
        line.split(":")[0] for line in file.read_text().splitlines() if ": test top-1" in line
    ]
    assert captions == ["equal-epochs", "equal-time", "labels-0.25"]
    assert capsys.readouterr().out.strip() == file.read_text().strip()
