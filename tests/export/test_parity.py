import numpy as np
import pytest

from edgekd.config import ExportRecipe
from edgekd.data.roles import Roles
from edgekd.export.parity import (
    Reference,
    compare,
    loses_too_much,
    problems,
    run_session,
    sqnr_db,
)

SOURCE = np.float32([[3, 4], [0, 5], [4, 3]])


def reference(labels=None, split=None):
    samples = [np.zeros((3, 1, 1, 1), np.uint8)]
    return Reference(samples=samples, logits=SOURCE, labels=labels, split=split)


def compared(answers, **labels):
    return compare(
        reference(**labels), answers.__getitem__, batch_sizes=tuple(answers), tolerance=0.5
    )


def test_sqnr_is_the_ratio_of_energies_in_decibel():
    # signal 9 + 16 + 25 + 16 + 9 = 75, noise 0.75: a factor of 100
    found = SOURCE + np.float32([[0.5, 0], [0.5, 0.5], [0, 0]])
    assert sqnr_db(SOURCE, found) == pytest.approx(20.0)


def test_no_ratio_without_noise_or_without_signal():
    assert sqnr_db(SOURCE, SOURCE) is None
    assert sqnr_db(np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)) is None


def test_the_worst_batch_size_counts():
    wrong = SOURCE.copy()
    wrong[2] = [1, 3.5]  # another winner, 3 away
    parity = compared({1: SOURCE, 3: wrong}, labels=np.array([1, 1, 0]), split="val")
    assert parity.max_abs_err == 3.0
    assert parity.top1_agreement == pytest.approx(2 / 3)
    assert parity.metric_drop == pytest.approx(1 / 3)
    assert parity.sqnr_db == pytest.approx(10 * np.log10(75 / 9.25))
    assert (parity.num_samples, parity.batch_sizes, parity.split) == (3, (1, 3), "val")


def test_a_file_that_is_better_than_its_source_has_a_negative_drop():
    better = SOURCE[:, ::-1].copy()
    parity = compared({1: better}, labels=np.array([0, 0, 1]), split="val")
    assert parity.metric_drop == -1.0


def test_rounding_is_against_the_float_network_inside_and_the_rest_against_the_student():
    inside = SOURCE[:, ::-1].copy()  # another network, which errs on other samples
    found = inside + np.float32([[0.5, 0], [0.5, 0.5], [0, 0]])
    given = Reference(
        samples=reference().samples,
        logits=SOURCE,
        labels=np.array([1, 1, 0]),
        split="val",
        unquantized=inside,
    )
    parity = compare(given, lambda _: found, batch_sizes=(1,), tolerance=None)
    assert parity.sqnr_db == pytest.approx(20.0)  # 75 / 0.75, as above
    assert parity.max_abs_err == 0.5
    assert (parity.top1_agreement, parity.metric_drop) == (0.0, 1.0)


def test_equal_answers_without_labels():
    parity = compared({1: SOURCE})
    assert (parity.max_abs_err, parity.sqnr_db, parity.metric_drop) == (0.0, None, None)
    assert parity.top1_agreement == 1.0


def test_fp32_is_judged_by_its_error_relative_to_the_largest_logit():
    parity = compared({1: SOURCE + np.float32(0.25)})
    allowed = ExportRecipe(tolerance=0.06)  # times 5
    assert problems(parity, "fp32", SOURCE, allowed) == []
    (problem,) = problems(parity, "fp32", SOURCE, ExportRecipe(tolerance=0.04))
    assert problem == "a logit differs by 2.50e-01, allowed is 2.00e-01"


def test_small_logits_are_judged_absolutely():
    small = SOURCE / 100
    parity = compared({1: SOURCE + np.float32(0.25)})
    assert problems(parity, "fp32", small, ExportRecipe(tolerance=0.26)) == []
    assert problems(parity, "fp32", small, ExportRecipe(tolerance=0.24)) != []


def test_int8_is_judged_by_three_limits_at_once():
    wrong = SOURCE[:, ::-1].copy()
    parity = compared({1: wrong}, labels=np.array([1, 1, 0]), split="val")
    recipe = ExportRecipe(min_sqnr_db=10, min_agreement=0.9)
    # noise 1 + 1 + 25 + 25 + 1 + 1 = 54
    assert problems(parity, "int8-static", SOURCE, recipe) == [
        "SQNR is 1.4 dB, required is 10 dB",
        "top-1 agrees on 0.0%, required is 90.0%",
        "top-1 drops by 100.00 points on 3 samples, allowed is 66.67",
    ]
    lenient = ExportRecipe(min_sqnr_db=1, min_agreement=0, max_drop_points=100)
    assert problems(parity, "int8-static", SOURCE, lenient) == []


@pytest.mark.parametrize(
    ("lost", "num_samples", "points", "refused"),
    [
        (1, 64, 0.5, False),  # 1.6 points, and yet one sample
        (2, 64, 0.5, False),
        (3, 64, 0.5, True),
        (5, 1000, 0.5, False),
        (6, 1000, 0.5, True),
        (2, 40, 0.0, False),
        (20, 40, 50.0, False),
        (21, 40, 50.0, True),
    ],
)
def test_the_budget_is_in_points_and_never_less_than_two_samples(
    lost, num_samples, points, refused
):
    before = 0.9
    drop = before - (before - lost / num_samples)  # as metrics are subtracted, with its rounding
    fields = {"num_samples": num_samples, "metric_drop": drop}
    parity = compared({1: SOURCE}).model_copy(update=fields)
    recipe = ExportRecipe(max_drop_points=points)
    assert loses_too_much(parity, recipe) == refused
    assert bool(problems(parity, "int8-mixed", SOURCE, recipe)) == refused


class Doubling:
    """Answers ``[x, 2 x]`` and remembers how many samples it was given at a time."""

    def __init__(self):
        self.batches = []

    def encode(self, samples):
        return {"image": samples[0]}

    def invoke(self, feeds):
        self.batches.append(len(feeds["image"]))
        return [feeds["image"]]

    def decode(self, outputs):
        return np.concatenate([outputs[0], 2 * outputs[0]], axis=1).astype(np.float32)


def test_samples_are_fed_in_batches_and_none_is_lost():
    session = Doubling()
    logits = run_session(session, [np.arange(7).reshape(7, 1)], batch=3)
    assert session.batches == [3, 3, 1]
    assert logits.tolist() == [[i, 2 * i] for i in range(7)]


CIRCLE = np.radians([0, 10, 22, 40])
EMBEDDINGS = np.stack([np.cos(CIRCLE), np.sin(CIRCLE)], axis=1).astype(np.float32)


def embedded(labels=None, split=None, cameras=None, roles=None):
    return Reference(
        samples=[np.zeros((4, 1, 1, 1), np.uint8)],
        logits=EMBEDDINGS,
        labels=labels,
        split=split,
        cameras=cameras,
        roles=roles,
        task="retrieval",
    )


def turned(degrees):
    """The embeddings with the second one turned to another direction."""
    answers = EMBEDDINGS.copy()
    angle = np.radians(degrees)
    answers[1] = np.cos(angle), np.sin(angle)
    return answers


def test_embeddings_agree_where_the_nearest_other_sample_is_the_same():
    # Nearest others of the samples at 0, 10, 22, 40 degrees: 1, 0, 1, 2.
    # With the second sample at 35: 2, 3, 1, 1.
    answers = turned(35)
    alone = compare(embedded(), {1: answers}.__getitem__, batch_sizes=(1,), tolerance=None)
    assert alone.top1_agreement == 1 / 4
    assert alone.metric_drop is None
    # Samples 0, 1 and 3 find another one, which is of the same identity: 1 and 2, 0 and 3.
    labels = np.array([0, 1, 1, 0])
    known = compare(
        embedded(labels, "val"), {1: answers}.__getitem__, batch_sizes=(1,), tolerance=None
    )
    assert known.top1_agreement == 1.0


def test_the_metric_of_embeddings_is_mean_ap():
    # Identities 0 0 1 1. The samples at 0, 10 and 40 find their own first; the one at 22 finds
    # 10, then 40: (1 + 1 + 1/2 + 1) / 4. With the second sample at 45: 0 finds 22, 40, 45 and 45
    # finds 40, 22, 0: 1/3 each; 22 finds 40 first; 40 finds 45, then 22: 1/2.
    reference = embedded(np.array([0, 0, 1, 1]), "val")
    found = reference.metrics(EMBEDDINGS)
    assert [m.name for m in found] == ["mean_ap", "recall_at_1", "recall_at_5", "recall_at_10"]
    assert found[0].value == 7 / 8
    parity = compare(reference, {1: turned(45)}.__getitem__, batch_sizes=(1,), tolerance=None)
    assert parity.metric_drop == pytest.approx(7 / 8 - (1 / 3 + 1 / 3 + 1 + 1 / 2) / 4)


def test_cameras_take_part_in_the_metric_of_a_comparison():
    labels, cameras = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0])
    found = embedded(labels, "val", cameras).metrics(EMBEDDINGS)[0]
    # At 0 and at 10 only the one at 22 counts, and it is first. At 22: 10, wrong 40, 0. The last
    # has nothing to find.
    assert found.num_samples == 3
    assert found.value == pytest.approx((1 + 1 + (1 + 2 / 3) / 2) / 3)


def test_roles_take_part_in_the_metric_of_a_comparison():
    roles = Roles.of(["query", "gallery", "gallery", "gallery"])
    found = embedded(np.array([0, 1, 0, 1]), "val", roles=roles).metrics(EMBEDDINGS)[0]
    assert (found.num_samples, found.value) == (1, 1 / 2)  # 10 wrong, 22 right


def test_refusals_speak_of_the_task():
    parity = compare(
        embedded(np.array([0, 0, 1, 1]), "val"),
        {1: -np.eye(4, 2, dtype=np.float32)}.__getitem__,
        batch_sizes=(1,),
        tolerance=None,
    )
    strict = ExportRecipe(min_sqnr_db=60, min_agreement=1, max_drop_points=0)
    parity = parity.model_copy(update={"metric_drop": 0.75})  # of four samples, two are allowed
    said = problems(parity, "int8-static", EMBEDDINGS, strict, task="retrieval")
    assert said[0].startswith("SQNR is ")
    assert any(text.startswith("mean_ap drops by") for text in said)
    wrong = compare(embedded(), {1: turned(90)}.__getitem__, batch_sizes=(1,), tolerance=0.001)
    (text,) = problems(wrong, "fp32", EMBEDDINGS, ExportRecipe(), task="retrieval")
    assert text.startswith("an embedding differs by ")
