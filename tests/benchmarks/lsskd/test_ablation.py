from pathlib import Path

import pytest

from benchmarks.lsskd.ablation import EQUAL_EPOCHS, EQUAL_TIME, REDUCED, ROWS, Kind, Plan, Run
from edgekd.config import TrainRecipe, build_recipe

QUARTER = Kind("labels-0.25", 0.25)


def plan(**changes):
    given = {
        "data": Path("cifar10.zip"),
        "teacher": "runs/teacher-{fraction}-{seed}",
        "runs": Path("runs"),
        "results": Path("results.jsonl"),
        "seeds": (0, 1),
        "fractions": (0.25,),
        "jobs": 1,
        "common": {"num_threads": 1, "precision": "fp32"},
        "changes": REDUCED,
    }
    return Plan(**(given | changes))


def row(name):
    return next(row for row in ROWS if row.name == name)


def recipe_of(name, kind=EQUAL_EPOCHS, **changes):
    training = plan(**changes).training(Run(kind, row(name), 1))
    return build_recipe(TrainRecipe, recipe=training.file, assignments=training.assignments())


@pytest.mark.parametrize("kind", [EQUAL_EPOCHS, EQUAL_TIME, QUARTER])
def test_every_row_has_a_recipe_and_a_folder_of_its_own(kind):
    rows = plan().rows
    folders = {plan().folder(kind, row, 0) for row in rows}
    assert len(folders) == len(rows)
    for each in rows:
        assert recipe_of(each.name, kind).method == each.method


def test_all_rows_are_reduced_alike_and_branches_are_the_recipe_s():
    for each in plan().rows:
        recipe = recipe_of(each.name)
        assert (recipe.epochs, recipe.input_size) == (REDUCED["epochs"], 24)
    assert recipe_of("+ features").lsskd.branch == "copy"


def test_a_teacher_for_every_share_and_seed():
    assert recipe_of("+ external teacher", QUARTER).teacher == "runs/teacher-0.25-1"
    assert recipe_of("+ external teacher").teacher == "runs/teacher-1-1"
    assert recipe_of("+ external teacher", QUARTER, teacher="runs/one").teacher == "runs/one"
    assert recipe_of("+ features").teacher is None
    assert not any(row.taught for row in plan(teacher=None).rows)


def test_few_labels_are_the_tables():
    assert recipe_of("PS-KD", QUARTER).label_fraction == 0.25
    assert recipe_of("PS-KD", QUARTER, changes={"label_fraction": 0.01}).label_fraction == 0.25
