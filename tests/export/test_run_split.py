"""An export judges on what the training kept aside, as far as it knows how that was split."""

from edgekd.bundle import WEIGHTS_FILE, read_bundle, read_record, write_bundle
from edgekd.cli.main import main_inner
from edgekd.config import DataRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.records import ExportedModel


def trained_with(student, folder, **split):
    """The student, as if trained on the digits split so."""
    trained = DataRecipe(data="builtin:digits", **split)
    record = read_bundle(student.folder)
    origin = record.provenance.model_copy(
        update={
            "data": open_dataset(trained, SilentConsole()).ref(),
            "recipe": trained.model_dump(mode="json"),
        }
    )
    weights = (student.folder / WEIGHTS_FILE).read_bytes()
    write_bundle(folder, record.model_copy(update={"provenance": origin}), weights)
    return folder


def test_the_judges_are_those_that_the_training_kept_aside(student, tmp_path, capsys):
    source = trained_with(student, tmp_path / "student", split=(0.3, 0.3))
    arguments = ["--data", "builtin:digits", "--format", "onnx", "-o", str(tmp_path / "out")]
    assert main_inner(["export", str(source), *arguments]) == 0
    said = capsys.readouterr().err
    assert "builtin:digits: split as in training, --split 0.3,0.3" in said
    assert "warning" not in said
    model = read_record(ExportedModel, tmp_path / "out" / "student.onnx.json")
    kept_aside = model.provenance.data.num_samples["val"]
    assert (model.parity.split, model.parity.num_samples) == ("val", kept_aside)
    assert not any("judged on other data" in note for note in model.notes)


def test_a_split_that_was_asked_for_is_taken_and_what_it_costs_is_told(student, tmp_path, capsys):
    source = trained_with(student, tmp_path / "student", split=(0.3, 0.3))
    arguments = ["--data", "builtin:digits", "--format", "onnx", "-o", str(tmp_path / "out")]
    assert main_inner(["export", str(source), *arguments, "--split", "0.15,0.15"]) == 0
    said = capsys.readouterr().err
    assert (
        "warning: trained on builtin:digits; --data builtin:digits holds other samples or" in said
    )
    model = read_record(ExportedModel, tmp_path / "out" / "student.onnx.json")
    assert model.parity.num_samples < model.provenance.data.num_samples["val"]
    assert any(note.startswith("judged on other data") for note in model.notes)
