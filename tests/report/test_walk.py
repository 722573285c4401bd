import json

import pytest

from edgekd.errors import BundleError, UsageError
from edgekd.report.walk import Epoch, find


def test_records_are_found_at_any_depth_and_labelled_from_the_root(make, tmp_path):
    make.write(tmp_path / "a" / "b", "bundle.json", make.bundle())
    make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    make.write(tmp_path / ".hidden", "bundle.json", make.bundle("c" * 64))
    (tmp_path / "notes.json").write_text("not ours, and not JSON")
    found = find([tmp_path])
    assert [entry.label for entry in found.bundles] == ["a/b"]
    assert [entry.label for entry in found.exported] == ["m.onnx"]


def test_overlapping_roots_find_a_record_once_and_name_the_root(make, tmp_path):
    make.write(tmp_path / "runs" / "student", "bundle.json", make.bundle())
    found = find([tmp_path / "runs", tmp_path / "runs" / "student"])
    assert [entry.label for entry in found.bundles] == ["runs/student"]


def test_a_run_folder_itself_or_a_single_record_is_a_root(make, tmp_path):
    path = make.write(tmp_path / "student", "bundle.json", make.bundle())
    for root in (path.parent, path):
        assert [entry.label for entry in find([root]).bundles] == ["student"]


def test_measurements_keep_the_order_of_their_lines(make, tmp_path):
    records = [make.measurement("m.onnx", sha256="1" * 64, p50_ms=ms) for ms in (3.0, 1.0, 2.0)]
    make.write_measurements(tmp_path, *records)
    assert [entry.record for entry in find([tmp_path]).measurements] == records


def test_history_keeps_the_last_line_of_a_repeated_epoch(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    lines = [
        {"epoch": 0, "train_loss": 2.0, "lr": 0.1, "seconds": 3, "val_top1": None},
        {"epoch": 1, "train_loss": float("nan"), "lr": 0.1, "val_loss": 1.0, "val_map": 0.5},
        {"epoch": 0, "train_loss": 1.5, "lr": 0.1, "seconds": 3.5, "val_top1": 0.25},
    ]
    (tmp_path / "history.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert find([tmp_path]).histories == {
        tmp_path.resolve(): (
            Epoch(
                epoch=0, train_loss=1.5, lr=0.1, seconds=3.5, val_name="top1", val_value=0.25
            ),
            Epoch(
                epoch=1, train_loss=None, lr=0.1, seconds=None, val_name="map", val_value=0.5
            ),
        )
    }  # fmt: skip


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such file or folder"):
        find([tmp_path / "nowhere"])


def test_an_empty_root_says_what_was_expected(tmp_path):
    with pytest.raises(UsageError, match=r"nothing to report; expected a folder with bundle\.json"):
        find([tmp_path])


def test_an_altered_bundle_is_an_error(make, tmp_path):
    path = make.write(tmp_path, "bundle.json", make.bundle())
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(BundleError, match=r"bundle\.json: altered"):
        find([tmp_path])


def test_a_truncated_measurement_is_named_by_its_line(make, tmp_path):
    record = make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0)
    path = make.write_measurements(tmp_path, record, record)
    path.write_text(path.read_text()[:-100])
    with pytest.raises(BundleError, match=r"measurements\.jsonl, line 2: not JSON"):
        find([tmp_path])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", "line 1: expected an object with a whole number 'epoch'"),
        ('{"epoch": 1.5}', "expected an object with a whole number 'epoch'"),
        ('{"epoch": 1, "lr": "fast"}', "lr is 'fast'; expected a number"),
        ('{"epoch": 1, "lr": true}', "lr is True; expected a number"),
    ],
)
def test_a_damaged_history_is_an_error(line, message, make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    (tmp_path / "history.jsonl").write_text(line + "\n")
    with pytest.raises(BundleError, match=message):
        find([tmp_path])


def test_a_file_that_is_not_text_is_an_error(make, tmp_path):
    (tmp_path / "measurements.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match="expected JSON lines"):
        find([tmp_path])
