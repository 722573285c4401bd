import pytest

from edgekd.bench.select import select
from edgekd.bundle import BUNDLE_FILE
from edgekd.errors import BundleError, UsageError


def test_a_folder_means_its_exported_files_in_order(exported):
    (exported / "notes.txt").write_text("x")
    (exported / "student.int8.onnx.rejected").write_bytes(b"x")
    found = select([exported], baseline=False)
    assert [(c.file, c.format, c.precision) for c in found] == [
        ("student.onnx", "onnx", "fp32"),
        ("student.tflite", "tflite", "fp32"),
    ]
    assert [c.encodings[0].layout for c in found] == ["NCHW", "NHWC"]
    assert found[0].size_bytes == (exported / "student.onnx").stat().st_size


def test_a_file_named_twice_is_measured_once(exported):
    assert len(select([exported / "student.tflite", exported], baseline=False)) == 2


def test_a_bare_file_is_welcome_but_nothing_is_known_about_it(exported):
    (exported / "student.onnx.json").unlink()
    found = select([exported / "student.onnx"], baseline=False)[0]
    assert (found.precision, found.preprocess, found.encodings) == (None, None, ())


def test_a_record_of_another_file_is_refused(exported):
    (exported / "student.onnx").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"not the file that student\.onnx\.json describes"):
        select([exported], baseline=False)


def test_a_damaged_record_is_refused(exported):
    record = exported / "student.onnx.json"
    record.write_bytes(record.read_bytes()[:-50])
    with pytest.raises(BundleError, match="not JSON"):
        select([exported], baseline=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", "no such file or folder"),
        ("empty", r"no \.onnx or \.tflite file in it"),
        ("notes.txt", r"expected a \.onnx or \.tflite file"),
        ("bundle", "run edgekd export .*bundle first, or .* with --baseline"),
    ],
)
def test_a_path_without_anything_to_measure_says_what_to_do(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / BUNDLE_FILE).write_text("{}")
    with pytest.raises(UsageError, match=message):
        select([tmp_path / name], baseline=False)


def test_a_baseline_needs_a_bundle(exported):
    with pytest.raises(UsageError, match="none of the paths is one"):
        select([exported], baseline=True)


def test_raw_files_are_fed_pixels(exported, bare):
    path = bare.write_onnx(exported / "raw.onnx", dtype="uint8")
    bare.describe(path, input_encoding="uint8")
    assert select([path], baseline=False)[0].encodings[0].raw


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path, bare):
    places = ("a/x/m.onnx", "b/x/m.onnx", "c/m.onnx", "c/n.onnx")
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        bare.write_onnx(tmp_path / place)
    found = select([tmp_path / place for place in places], baseline=False)
    assert [candidate.file for candidate in found] == [
        "a/x/m.onnx",
        "b/x/m.onnx",
        "c/m.onnx",
        "n.onnx",
    ]
    (alone,) = select([tmp_path / places[0]], baseline=False)
    assert alone.file == "m.onnx"
