import copy

import numpy as np
import pytest
import torch

from edgekd.config import ExportRecipe, TrainRecipe
from edgekd.console import SilentConsole
from edgekd.data.cache import InputSource
from edgekd.data.few_labels import labelled_indices
from edgekd.data.open import open_dataset
from edgekd.distill.material import make_batches
from edgekd.distill.recover import recover, train_recipe
from edgekd.distill.run import distill
from edgekd.errors import BundleError, DivergenceError, ModelError
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


class Listener(SilentConsole):
    def __init__(self):
        self.said = []

    def info(self, text):
        self.said.append(text)


def few_labels(record, share):
    """The record of a student that was trained on a share of the labels, drawn with seed 7."""
    recipe = record.provenance.recipe | {"label_fraction": share}
    provenance = record.provenance.model_copy(update={"recipe": recipe, "seed": 7})
    return record.model_copy(update={"provenance": provenance})


def test_it_trains_on_the_labels_that_the_student_had(student, splits, tmp_path, monkeypatch):
    opened = []

    def batches(recipe, material, fabric, console):
        opened.append(material)
        return make_batches(recipe, material, fabric, console)

    monkeypatch.setattr("edgekd.distill.recover.make_batches", batches)
    _, record, module = student
    fake, console = rounding(student, splits, bits=8), Listener()
    recover(fake, student=module, record=few_labels(record, 0.25), recipe=recipe(epochs=1),
            work=tmp_path, console=console)  # fmt: skip
    kept = labelled_indices(splits["train"].labels, 0.25, seed=7)
    train = opened[0].dataset.splits["train"]
    assert train.names == tuple(splits["train"].names[row] for row in kept)
    assert len(opened[0].sources["train"]) == len(kept)
    assert any("training samples keep their label" in text for text in console.said)


@pytest.mark.parametrize("share", [0, -1, 2, "half", None])
def test_a_share_of_labels_that_is_none_is_a_fault_of_the_bundle(student, splits, tmp_path, share):
    _, record, module = student
    fake = rounding(student, splits, bits=8)
    with pytest.raises(BundleError, match=f"trained with label_fraction {share!r}"):
        recover(fake, student=module, record=few_labels(record, share), recipe=recipe(),
                work=tmp_path, console=SilentConsole())  # fmt: skip


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
