import pytest
from pydantic import ValidationError

from edgekd.config import TrainRecipe

RETRIEVAL = {"data": "d", "student": "resnet8", "task": "retrieval"}


def test_retrieval_brings_its_own_batch_and_smoothing():
    recipe = TrainRecipe(**RETRIEVAL, retrieval={"identities_per_batch": 5})
    assert recipe.settled(1000).batch_size == 5 * 4
    assert recipe.label_smoothing == 0.1
    assert TrainRecipe(**RETRIEVAL, label_smoothing=0.0).label_smoothing == 0.0


@pytest.mark.parametrize(
    ("identities", "processes", "taken"),
    [(None, 1, 16), (7, 1, 7), (7, 2, 6), (100, 3, 15), (1, 1, 16)],
)
def test_no_more_identities_a_batch_than_there_are_and_the_rate_follows(
    identities, processes, taken
):
    settled = TrainRecipe(**RETRIEVAL).settled(
        1000, num_identities=identities, num_processes=processes
    )
    assert settled.batch_size == taken * 4
    assert settled.lr == pytest.approx(0.1 * taken * 4 / 128)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"batch_size": 63}, "identities_per_batch times images_per_identity, here 64"),
        ({"augment": {"mixup": 0.2}}, "two identities"),
        ({"kd": {"temperature": 3.0}}, "kd is for classification"),
        ({"retrieval": {"embedding_dim": 0}}, "retrieval.embedding_dim"),
    ],
)
def test_what_does_not_fit_retrieval(fields, words):
    with pytest.raises(ValidationError, match=words):
        TrainRecipe(**RETRIEVAL, **fields)


@pytest.mark.parametrize("fields", [{"method": "none"}, {"method": "none", "qat": True}])
def test_labels_alone_need_no_teacher(fields):
    plan = {"data": "d", "student": "resnet8", **fields}
    with pytest.raises(ValidationError, match="not from teacher runs/t; take the teacher out"):
        TrainRecipe(**plan, teacher="runs/t")
    assert TrainRecipe(**plan).teacher is None


def test_a_teacher_without_any_method_trains_nothing():
    recipe = TrainRecipe(data="d", student="resnet8", teacher="runs/t")  # a command asks for one
    with pytest.raises(ValidationError, match="learns from labels alone"):
        recipe.settled(1000)


def test_model_is_another_word_for_student():
    assert TrainRecipe.model_validate({"data": "d", "model": "resnet20"}).student == "resnet20"


@pytest.mark.parametrize(
    ("num_samples", "num_processes", "batch_size"),
    [
        (45_000, 1, 128),
        (6_400, 1, 128),  # 50 steps an epoch
        (6_399, 1, 64),
        (1_443, 1, 16),  # 90 steps; 32 would give 45
        (10, 1, 16),
        (45_000, 3, 129),  # shared evenly
    ],
)
def test_small_data_takes_small_batches_and_the_rate_follows(
    num_samples, num_processes, batch_size
):
    recipe = TrainRecipe(data="d", student="resnet8")
    settled = recipe.settled(num_samples, num_processes=num_processes)
    assert settled.batch_size == batch_size
    assert settled.lr == pytest.approx(0.1 * batch_size / 128)


def test_what_was_given_is_left_alone():
    given = TrainRecipe(data="d", student="resnet8", batch_size=100, lr=0.3).settled(10)
    assert (given.batch_size, given.lr) == (100, 0.3)
    assert TrainRecipe(data="d", student="x", optimizer="adamw").settled(10).lr == 0.001
