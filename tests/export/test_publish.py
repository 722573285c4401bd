"""What an export does with a folder that holds files already."""

import pytest
from tiny_bundle import write_tiny_bundle

from edgekd.bundle import read_bundle, read_record, to_json
from edgekd.cli.main import main_inner
from edgekd.errors import OutputError
from edgekd.export.publish import files_of_others, require_own_folder
from edgekd.records import ExportedModel


@pytest.fixture
def folder(exported, tmp_path):
    """The files of one student, int8 among them; the large ones are only named."""
    for record in exported.folder.glob("*.json"):
        (tmp_path / record.name).write_bytes(record.read_bytes())
        (tmp_path / record.name.partition(".json")[0].removesuffix(".recipe")).write_bytes(b"x")
    return tmp_path


def test_files_of_the_same_student_are_no_strangers(folder, student):
    own = read_bundle(student.folder).weights_sha256
    assert files_of_others(folder, own) == []
    require_own_folder(folder, own)
    require_own_folder(folder / "missing", own)


def test_files_of_another_student_are_named(folder):
    names = ["student.int8.onnx", "student.int8.tflite", "student.onnx", "student.tflite"]
    assert [path.name for path in files_of_others(folder, "0" * 64)] == names
    with pytest.raises(OutputError, match=r"holds files of another student .* add --overwrite"):
        require_own_folder(folder, "0" * 64)


def test_what_is_no_record_is_left_alone_and_a_record_names_no_other_folder(folder):
    (folder / "student.notes.json").write_text("{}")
    record = folder / "student.onnx.json"
    hostile = read_record(ExportedModel, record).model_copy(update={"file": "../../precious"})
    record.write_bytes(to_json(hostile))
    assert all(path.parent == folder for path in files_of_others(folder, "0" * 64))


def test_a_second_student_gets_a_folder_of_its_own_or_replaces_the_first(
    folder, student, tmp_path_factory, capsys
):
    other = tmp_path_factory.mktemp("other")
    write_tiny_bundle(other, read_bundle(student.folder).preprocess, tuple("0123456789"))
    command = ["export", str(other), "--format", "onnx", "-o", str(folder)]
    assert main_inner(command) == 10
    assert "holds files of another student" in capsys.readouterr().err
    assert (folder / "student.int8.onnx").exists()
    assert main_inner([*command, "--overwrite"]) == 0
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["student.onnx", "student.onnx.json"]
