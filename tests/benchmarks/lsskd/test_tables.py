import json

import pytest
from finished_run import finish

from benchmarks.commands import ROOT, append
from benchmarks.lsskd import tables
from benchmarks.lsskd.ablation import EQUAL_EPOCHS, EQUAL_TIME, REDUCED, ROWS, Kind, Plan, Run
from benchmarks.training import Training

QUARTER = Kind("labels-0.25", 0.25)
TEACHER = Training(ROOT / "models" / "lsskd-resnet20-cifar10" / "recipe.toml", {}, ROOT)


@pytest.fixture
def plan(tmp_path):
    return Plan(
        data=tmp_path / "cifar10.zip",
        teacher="runs/teacher",
        runs=tmp_path / "runs",
        results=tmp_path / "results.jsonl",
        seeds=(0, 1),
        fractions=(0.25,),
        jobs=1,
        common={},
        changes=REDUCED,
    )


def note(plan, kind, name, *, seeds=None, epochs=None, teacher=None, machine="a", **figures):
    """Put finished runs of a row among the results."""
    row = next(row for row in ROWS if row.name == name)
    for seed in plan.seeds if seeds is None else seeds:
        run = Run(kind, row, seed, epochs)
        record = finish(plan.training(run), **figures)
        record["provenance"]["machine"] = f"{machine}, x86_64"
        if teacher is not None:
            record["provenance"]["teacher"] = {"sha256": teacher}
        weights = f"{machine}{teacher}{len(tables.rows_of(plan.results))}"
        append(plan.results, run.key | {"weights_sha256": weights}, record)


def note_teacher(plan, folder, sha, *, params=1_100_000, **settings):
    training = Training(TEACHER.file, {"data": "x", "method": "none", **settings}, folder)
    record = finish(training, weights=sha, top1=0.9) | {"num_params": params, "macs": 23_000_000}
    with tables.teachers_file(plan.results).open("a") as file:
        file.write(json.dumps(record) + "\n")


def rows(text):
    return [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines()[4:]]


def test_means_spreads_and_gains_seed_by_seed(plan):
    note(plan, EQUAL_EPOCHS, "labels only", seeds=[0], top1=0.60)
    note(plan, EQUAL_EPOCHS, "labels only", seeds=[1], top1=0.70)
    note(plan, EQUAL_EPOCHS, "PS-KD", seeds=[0], top1=0.61, minutes=4, machine="b")
    note(plan, EQUAL_EPOCHS, "PS-KD", seeds=[1], top1=0.73, minutes=5)
    *_, first, second = tables.table(plan, EQUAL_EPOCHS).splitlines()
    # sqrt(2) * 0.05 and * 0.06; gains of 1 and 3 points
    assert first == "| labels only | 65.00 ± 7.07 | 0.00 ± 0.00 | 5 | 1.0 | a |"
    assert second == "| PS-KD | 67.00 ± 8.49 | 2.00 ± 1.41 | 5 | 4.5 | a or b |"


def test_a_row_counts_with_all_seeds_and_the_last_training_of_each(plan):
    assert tables.table(plan, EQUAL_EPOCHS) is None
    note(plan, EQUAL_EPOCHS, "labels only")
    note(plan, EQUAL_EPOCHS, "PS-KD", seeds=[1])
    note(plan, EQUAL_EPOCHS, "labels only", top1=0.9, machine="b")
    text = tables.table(plan, EQUAL_EPOCHS)
    assert rows(text) == ["labels only"]
    assert "| 90.00 ± 0.00 |" in text


def test_a_run_of_another_setting_is_no_row(plan):
    note(plan, EQUAL_EPOCHS, "labels only")
    note(plan, EQUAL_EPOCHS, "PS-KD", epochs=7)
    assert rows(tables.table(plan, EQUAL_EPOCHS)) == ["labels only"]


def test_every_kind_of_teacher_has_a_row(plan, tmp_path):
    note(plan, EQUAL_EPOCHS, "labels only")
    for sha, params in (("aa" * 32, 1_100_000), ("bb" * 32, 2_800_000)):
        note_teacher(plan, tmp_path / sha, sha, params=params)
        note(plan, EQUAL_EPOCHS, "+ external teacher", teacher=sha)
    text = tables.table(plan, EQUAL_EPOCHS)
    assert rows(text) == [
        "labels only",
        "+ external teacher (1.1 M parameters, 23 M MACs, 90.0 %; trained on all labels)",
        "+ external teacher (2.8 M parameters, 23 M MACs, 90.0 %; trained on all labels)",
    ]
    assert "Weights of the external teachers: aaaaaaaa, bbbbbbbb." in text


@pytest.mark.parametrize(
    ("of_seed", "said"),
    [
        ({0: {}, 1: {}}, "all"),
        ({0: {"label_fraction": 0.25}, 1: {"label_fraction": 0.25, "seed": 1}}, "the same"),
        ({0: {"label_fraction": 0.25}, 1: {"label_fraction": 0.25}}, "other or the same"),
        ({0: {"label_fraction": 0.5}, 1: {"label_fraction": 0.5, "seed": 1}}, "other"),
    ],
)
def test_a_taught_row_says_which_labels_its_teacher_saw(plan, tmp_path, of_seed, said):
    note(plan, QUARTER, "labels only")
    for seed, settings in of_seed.items():
        sha = str(seed) * 64
        note_teacher(plan, tmp_path / sha, sha, **settings)
        note(plan, QUARTER, "+ external teacher", seeds=[seed], teacher=sha)
    assert f"; trained on {said} labels)" in tables.table(plan, QUARTER)


def test_equal_time_has_what_was_trained_for_it_and_what_takes_as_long_anyway(plan):
    """Paces are of one processor: '+ KL' and '+ features' met on one with few labels alone."""
    note(plan, EQUAL_EPOCHS, "labels only", minutes=2)
    note(plan, EQUAL_TIME, "labels only", epochs=25, minutes=10)
    note(plan, EQUAL_EPOCHS, "PS-KD", minutes=2)  # never trained for as long
    note(plan, EQUAL_EPOCHS, "+ softening", minutes=30, machine="b")  # never on a's processor
    note(plan, EQUAL_EPOCHS, "+ KL", minutes=30, machine="b")
    note(plan, EQUAL_EPOCHS, "+ features", minutes=10)
    note(plan, QUARTER, "+ KL", minutes=24, machine="b")
    note(plan, QUARTER, "+ features", minutes=20, machine="b")
    text = tables.table(plan, EQUAL_TIME)
    assert rows(text) == ["labels only", "+ KL", "+ features"]
    assert "| 25 | 10.0 | a |" in text
    assert "`epochs`" not in text


def test_paces_of_different_processors_do_not_compare():
    one, other = ({"provenance": {"machine": m, "train_seconds": 60}} for m in "ab")
    slow = {"provenance": {"machine": "b", "train_seconds": 180}}
    assert tables.relative_pace([([one], [other])]) is None
    assert tables.relative_pace([([], [one]), ([one], [other]), ([slow], [other])]) == 3


@pytest.mark.parametrize(("pace", "epochs"), [(0.2, 25), (1.4, 5), (1.5, 3), (0.85, 5), (20, 1)])
def test_what_takes_within_a_fifth_of_the_time_stays_as_it_is(pace, epochs):
    assert tables.epochs_in_equal_time(5, pace) == epochs


def test_the_caption_names_the_reduction(plan):
    note(plan, EQUAL_EPOCHS, "labels only")
    text = tables.table(plan, EQUAL_EPOCHS)
    assert (
        "the recipe with `input_size` 24, `student_options.stem_stride` 2, "
        "`lsskd.kl_ramp_epochs` 2, `epochs` 5" in text
    )
    assert "equal training time" not in text


def test_the_caption_of_few_labels_says_what_was_not_measured(plan):
    note(plan, QUARTER, "labels only", samples=250)
    caption = tables.table(plan, QUARTER).splitlines()[0]
    assert "250 training samples" in caption
    assert "`lsskd.kl_ramp_epochs` 8, `epochs` 20" in caption
    assert "As many steps as with all labels." in caption
    assert caption.endswith("with few labels equal training time was not measured.")


def test_all_shares_of_the_labels_that_were_trained_on_have_a_table(plan):
    for kind in (EQUAL_EPOCHS, Kind("labels-0.5", 0.5), QUARTER):
        note(plan, kind, "labels only")
    captions = [
        line.split(":")[0] for line in tables.all_tables(plan).splitlines() if ": test" in line
    ]
    assert captions == ["equal-epochs", "labels-0.25", "labels-0.5"]


def test_the_published_tables_are_those_of_the_published_results():
    folder = ROOT / "benchmarks" / "lsskd"
    published = Plan(
        data=folder,
        teacher=None,
        runs=folder,
        results=folder / "results-cifar10.jsonl",
        seeds=(0, 1, 2),
        fractions=(),
        jobs=1,
        common={"precision": "bf16"},
        changes=dict(REDUCED),
    )
    assert tables.all_tables(published) == (folder / "table-cifar10.md").read_text()
