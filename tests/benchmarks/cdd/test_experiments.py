"""The commands of the CDD experiments, as ``edgekd`` understands them."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from benchmarks.cdd.experiments import DENSE, PEER
from edgekd.cli.main import main_inner


class ReachedError(Exception):
    pass


@pytest.fixture
def recipe_of(monkeypatch):
    """The recipe that reaches the stage when a training's command is typed."""

    def distill(recipe, output, **_):
        raise ReachedError(recipe, output)

    monkeypatch.setitem(sys.modules, "edgekd.distill.run", SimpleNamespace(distill=distill))

    def ask(training):
        assert training.command[1:3] == ("-m", "edgekd")
        with pytest.raises(ReachedError) as reached:
            main_inner(training.command[3:])
        recipe, output = reached.value.args
        assert output == training.folder
        return recipe

    return ask


def after(command, flag):
    return command[command.index(flag) + 1]


def test_all_rows_continue_from_a_trained_network_of_their_own_width(any_plan, recipe_of):
    teacher, narrow = any_plan.starts
    dense_width = recipe_of(teacher).student_options["width"]
    starts = {
        str(dense_width): teacher.folder / "weights.safetensors",
        str(any_plan.experiment.narrow): narrow.folder / "weights.safetensors",
    }
    assert len(starts) == 2
    for training in any_plan.trainings():
        if training.row == PEER:
            found = after(training.command, "--weights")
            assert found == str(starts[str(dense_width)])
        else:
            recipe = recipe_of(training)
            assert recipe.weights == starts[str(recipe.student_options["width"])], training.row


def test_the_narrow_start_is_trained_as_the_teacher_is(any_plan, recipe_of):
    teacher, narrow = map(recipe_of, any_plan.starts)
    width = {"width": any_plan.experiment.narrow}
    assert narrow == teacher.model_copy(
        update={"student_options": {**teacher.student_options, **width}}
    )
    assert (teacher.method, teacher.weights) == ("none", None)


def test_rows_differ_in_nothing_but_what_is_compared(any_plan, recipe_of):
    compared = {"method", "weights", "teacher", "cdd", "seed", "student_options"}
    students = [t for t in any_plan.trainings() if t.row != PEER]
    common = {
        training.row: recipe_of(training).model_dump(exclude=compared) for training in students
    }
    assert all(plan == common["CDD"] for plan in common.values())
    peer = next(t for t in any_plan.trainings() if t.row == PEER).command
    assert after(peer, "--recipe") == str(any_plan.experiment.student)
    assert after(peer, "--teacher") == str(any_plan.teacher.folder)


def test_the_dense_student_is_the_teachers_size_and_taught_by_it(any_plan, recipe_of):
    dense = [t for t in any_plan.trainings() if t.row == DENSE]
    assert [t.seed for t in dense] == list(any_plan.experiment.seeds)
    recipe, teacher = recipe_of(dense[0]), recipe_of(any_plan.teacher)
    assert recipe.method == "kd"
    assert recipe.teacher == str(any_plan.teacher.folder)
    assert (recipe.student, recipe.student_options) == (teacher.student, teacher.student_options)


def test_every_row_of_a_seed_comes_before_the_next_seed(any_plan):
    seeds = [training.seed for training in any_plan.trainings()]
    assert seeds == sorted(seeds)
    folders = [training.folder for training in any_plan.trainings()]
    assert len(set(folders)) == len(folders)


def test_only_what_wanted_rows_start_from_is_trained(plan):
    assert [t.row for t in plan.starts] == ["teacher", "narrow 19, taught"]
    assert [t.row for t in replace(plan, only=("CDD",)).starts] == ["teacher"]
    labels = replace(plan, only=("narrow 19, labels",))
    assert [t.row for t in labels.starts] == ["teacher", "narrow 19, taught"]
    assert {t.row for t in labels.trainings()} == {"narrow 19, labels"}


def test_single_seeds_are_trained_on_demand(plan):
    assert {training.seed for training in replace(plan, only_seeds=(1,)).trainings()} == {1}
    assert {training.seed for training in plan.trainings()} == {0, 1}
