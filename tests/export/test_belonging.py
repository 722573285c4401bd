from types import SimpleNamespace

import numpy as np
import pytest
from program_file import BatchNormed, saved

from edgekd.bundle import read_record
from edgekd.cli.main import main_inner
from edgekd.config import ExportRecipe
from edgekd.errors import DataError
from edgekd.export.belonging import belonging, unlikely
from edgekd.export.parity import Reference
from edgekd.records import ExportedModel


def data(*names):
    return SimpleNamespace(train_class_names=names, source="pets.zip")


def record(*labels, trained_on="unknown"):
    provenance = SimpleNamespace(data=SimpleNamespace(source=trained_on))
    return SimpleNamespace(labels=labels, provenance=provenance, task="classification")


def test_the_same_names_belong_together():
    assert belonging(data("cat", "dog"), record("cat", "dog"), ExportRecipe()) == ()


def test_what_edgekd_trained_wants_its_own_classes():
    with pytest.raises(DataError, match=r"has classes cat, dog \(2\), the student was trained for"):
        belonging(data("cat", "dog"), record("a", "b", trained_on="x.zip"), ExportRecipe())


def test_other_classes_calibrate_and_give_no_metric():
    (note,) = belonging(data("cat", "dog"), record("0", "1", "2"), ExportRecipe())
    assert note.startswith(
        "pets.zip has 2 classes and the network answers 3: its samples calibrate"
    )
    learning = ExportRecipe.model_validate({"int8": "full", "recovery": {"epochs": 1}})
    with pytest.raises(DataError, match="--recover learns from labels"):
        belonging(data("cat", "dog"), record("0", "1", "2"), learning)


def answered(hits, rows, num_classes):
    """Answers that are right on the first ``hits`` of so many samples."""
    labels = np.arange(rows) % num_classes
    given = np.where(np.arange(rows) < hits, labels, (labels + 1) % num_classes)
    return Reference(
        samples=[], logits=np.eye(num_classes, dtype=np.float32)[given], labels=labels, split="val"
    )


@pytest.mark.parametrize(
    ("hits", "rows", "num_classes", "is_said"),
    [
        (19, 100, 10, True),  # twice chance is 20 %
        (20, 100, 10, False),
        (59, 100, 2, True),  # chance and a tenth is 60 %
        (60, 100, 2, False),
        (0, 49, 10, False),  # too few to tell
        (0, 50, 10, True),
    ],
)
def test_answers_no_better_than_chance_are_said(hits, rows, num_classes, is_said):
    labels = tuple(str(k) for k in range(num_classes))
    found = unlikely(answered(hits, rows, num_classes), record(*labels))
    assert bool(found) == is_said
    assert all("its classes are probably not those of the data" in note for note in found)
    assert unlikely(answered(hits, rows, num_classes), record(*labels, trained_on="x.zip")) == ()


def test_a_network_of_other_classes_is_exported_without_a_metric(tmp_path, capsys):
    path = saved(BatchNormed(channels=1).eval(), tmp_path / "5.pt2", shape=(1, 8, 8))
    asked = ["--data", "builtin:digits", "--format", "onnx", "--int8", "full", "--num-parity", "60"]
    gate = ["--min-sqnr-db", "5", "--min-agreement", "0", "--max-drop", "0"]
    output = tmp_path / "out"
    assert main_inner(["export", str(path), *asked, *gate, "-o", str(output)]) == 0
    assert "has 10 classes and the network answers 5" in capsys.readouterr().err
    model = read_record(ExportedModel, output / "student.int8.onnx.json")
    assert (model.parity.metric_drop, model.metrics, model.parity.split) == (None, (), "val")
    assert (model.labels, model.parity.num_samples) == (tuple("01234"), 60)
    assert any("judged by SQNR and agreement alone" in note for note in model.notes)
    assert model.layer_errors[0].metric_unknown == "there are no labels to judge by"


def test_labels_in_another_order_are_said_on_the_console_and_in_the_record(tmp_path, capsys):
    path = saved(
        BatchNormed(channels=1, num_classes=10).eval(), tmp_path / "net.pt2", shape=(1, 8, 8)
    )
    asked = ["--data", "builtin:digits", "--format", "onnx", "--num-parity", "200"]
    assert main_inner(["export", str(path), *asked, "-o", str(tmp_path / "out")]) == 0
    assert "the metric and its drop say nothing" in " ".join(capsys.readouterr().err.split())
    model = read_record(ExportedModel, tmp_path / "out" / "student.onnx.json")
    assert any("chance is 10.0%" in note for note in model.notes)
