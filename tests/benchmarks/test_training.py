import json

import pytest
from click.testing import CliRunner
from finished_run import finish

from benchmarks import training as module
from benchmarks.commands import ROOT
from benchmarks.training import Training, described
from edgekd.cli.distill import command
from edgekd.config import TrainRecipe, build_recipe, parse_assignments

RECIPE = ROOT / "models" / "lsskd-resnet20-cifar10" / "recipe.toml"


def training(folder, **settings):
    return Training(RECIPE, {"data": "cifar10.zip", **settings}, folder)


def test_a_finished_run_of_another_recipe_is_refused(tmp_path):
    finish(training(tmp_path, epochs=1))
    with pytest.raises(SystemExit, match=r"finished with another recipe \(epochs: 1 -> 8\)"):
        training(tmp_path, epochs=8).run()
    with pytest.raises(SystemExit, match=r"lsskd\.branch: 'copy' -> 'light'"):
        training(tmp_path, epochs=1, **{"lsskd.branch": "light"}).check()


def test_the_same_run_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "edgekd", lambda *arguments: pytest.fail("it is finished"))
    record = finish(training(tmp_path, num_threads=2))
    assert training(tmp_path, num_threads=1).run() == record  # threads change no result


def test_a_record_that_does_not_know_a_field_has_its_default(tmp_path):
    record = finish(training(tmp_path))
    del record["provenance"]["recipe"]["label_fraction"]
    (tmp_path / "bundle.json").write_text(json.dumps(record))
    training(tmp_path).check()
    with pytest.raises(SystemExit, match=r"label_fraction: 1\.0 -> 0\.5"):
        training(tmp_path, label_fraction=0.5).check()


def test_numbers_that_wait_for_the_data_are_those_of_its_size(tmp_path):
    """Batch and rate of ``auto`` depend on how many samples there were."""
    auto = training(tmp_path, batch_size="auto", lr="auto")
    finish(auto, samples=1000)
    auto.check()


def test_the_command_trains_the_recipe_that_is_compared(tmp_path, monkeypatch):
    what = training(tmp_path / "run", group="subject", test_groups=[8], seed=3, teacher=tmp_path)
    asked = []

    def edgekd(*arguments):
        asked.extend(map(str, arguments))
        finish(what)

    monkeypatch.setattr(module, "edgekd", edgekd)
    what.run()
    assert asked[0] == "distill"
    printed = CliRunner().invoke(command, [*asked[1:], "--print-recipe"]).output
    (tmp_path / "printed.toml").write_text(printed)
    found = build_recipe(TrainRecipe, recipe=tmp_path / "printed.toml")
    assert found == build_recipe(TrainRecipe, recipe=RECIPE, assignments=what.assignments())
    assert (found.test_groups, found.seed, found.teacher) == (("8",), 3, str(tmp_path))


def test_what_differs_can_be_read_in_a_caption():
    assert described({"lsskd.branch": "light", "epochs": 8}) == "`lsskd.branch` light, `epochs` 8"
    assert parse_assignments(["lsskd.branch=light"]) == {"lsskd": {"branch": "light"}}
