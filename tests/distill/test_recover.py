import copy

import numpy as np
import pytest
import torch

from edgekd.config import ExportRecipe, TrainRecipe
from edgekd.console import SilentConsole
from edgekd.data.cache import InputSource
from edgekd.data.open import open_dataset
from edgekd.distill.recover import recover, train_recipe
from edgekd.distill.run import distill
from edgekd.errors import DivergenceError, ModelError
from edgekd.evaluate.classification import evaluate, normalise_all, to_view
from edgekd.export.prepare import prepare_for_export
from edgekd.students.build import load_student
from edgekd.students.quantized import FakeQuantized

DATA = "builtin:digits"


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "student"
    plan = {
        "student": "resnet8", "student_options": {"width": 8}, "epochs": 3, "lr": 0.1,
        "precision": "fp32", "num_threads": 1,
    }  # fmt: skip
    distill(TrainRecipe(data=DATA, **plan), folder)
    return folder, *load_student(folder)


@pytest.fixture(scope="module")
def splits():
    return open_dataset(ExportRecipe(data=DATA), SilentConsole()).splits


def rounding(student, splits, bits):
    """The folded student with few bits, ranges calibrated by min-max."""
    _, record, module = student
    specs = record.preprocess.inputs
    source = InputSource(splits["train"], specs)
    views = [to_view(values, torch.device("cpu")) for values in source[np.arange(128)]]
    inputs = normalise_all(views, specs)
    network = prepare_for_export(module, specs)
    fake = FakeQuantized(network, inputs, weight_bits=bits, activation_bits=bits)
    ranges = {}
    fake.observe(inputs, lambda name, x: ranges.update({name: (float(x.min()), float(x.max()))}))
    fake.calibrate(ranges)
    return fake


def top1(module, student, splits):
    specs, val = student[1].preprocess.inputs, splits["val"]
    return evaluate(module, InputSource(val, specs), val.labels, specs, split="val").value


def recipe(**recovery):
    return ExportRecipe(data=DATA, int8="full", recovery={"epochs": 2, "lr": 0.001} | recovery)


def trained(fake, student, tmp_path, **recovery):
    _, record, module = student
    work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
    work.mkdir()
    return recover(
        fake,
        student=module,
        record=record,
        recipe=recipe(**recovery),
        work=work,
        console=SilentConsole(),
    )


def test_what_few_bits_lose_is_won_back_and_every_time_alike(student, splits, tmp_path):
    fake = rounding(student, splits, bits=3)
    again = copy.deepcopy(fake)
    before, exact = top1(fake, student, splits), top1(student[2], student, splits)
    loss = trained(fake, student, tmp_path)
    after = top1(fake, student, splits)
    assert exact - before > 0.05
    assert exact - after < 0.5 * (exact - before)
    assert trained(again, student, tmp_path) == loss
    for name, tensor in fake.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert (fake.stretch[:, 1] != 1).all()  # every range was learned; a low end of 0 stays 0


def test_the_teacher_that_is_named_teaches(student, splits, tmp_path):
    fake, other = (rounding(student, splits, bits=3) for _ in range(2))
    own = trained(fake, student, tmp_path, epochs=1)
    # the same network as its own teacher: the same answers, through another door
    named = trained(other, student, tmp_path, epochs=1, teacher=str(student[0]))
    assert named == pytest.approx(own, rel=1e-3)
    with pytest.raises(ModelError, match="no such file or folder"):
        trained(fake, student, tmp_path, epochs=1, teacher=str(tmp_path / "nobody"))


def test_a_loss_that_is_no_number_says_what_to_lower(student, splits, tmp_path):
    fake = rounding(student, splits, bits=8)
    with torch.no_grad():
        next(fake.network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergenceError, match=r"recovery: the loss became nan.*recovery\.lr"):
        trained(fake, student, tmp_path, epochs=1)


def test_the_loop_is_told_what_the_export_was_told():
    found = train_recipe(
        ExportRecipe(
            data="d.zip",
            val_fraction=0.2,
            seed=7,
            int8="fast",
            recovery={"epochs": 5, "lr": 0.01, "batch_size": 32, "kd_weight": 0.5},
        )
    )
    assert (found.data, found.val_fraction, found.seed) == ("d.zip", 0.2, 7)
    assert (found.epochs, found.lr, found.batch_size, found.kd.kd_weight) == (5, 0.01, 32, 0.5)
    assert (found.optimizer, found.weight_decay, found.precision) == ("adamw", 0.0, "fp32")
