import json

import pytest

from benchmarks.lsskd import stripped

AUDIT = {"float_operators": {"Conv": 3}, "int8_operators": {}}


@pytest.fixture
def runs(tmp_path):
    """Two finished runs, as far as the driver reads them."""
    found = {}
    for name, weights in (("stripped", "aaaaaaaabb"), ("plain", "ccccccccdd")):
        folder = tmp_path / name
        folder.mkdir()
        recipe = {"student": "resnet20", "method": name, "epochs": 10, "seed": 0}
        record = {
            "weights_sha256": weights,
            "num_params": 1000,
            "macs": 2000,
            "provenance": {"recipe": recipe | {"label_fraction": 0.5}},
        }
        (folder / "bundle.json").write_text(json.dumps(record))
        found[name] = folder
    return found


@pytest.fixture
def typed(monkeypatch):
    """What was typed; files of ``plain`` take 2 ms and those of ``stripped`` 3 ms."""
    seen = []

    def edgekd(*arguments):
        seen.append(arguments)
        if arguments[0] == "export":
            write_records(arguments[-1])
            return None
        p50 = 2.0 if arguments[1].name.startswith("plain") else 3.0
        measured = {"size_bytes": 5000, "metric": {"value": 0.75, "num_samples": 40}}
        return [
            {"file": file, "p50_ms": p50, "spread": p50 / 20} | measured for file in stripped.FILES
        ]

    def race(files, *, num_threads, seconds):
        assert [file.parent.name for file in files] == [
            "plain-files-cccccccc",
            "stripped-files-aaaaaaaa",
        ]
        return [(200, 202), (200, 202)]

    monkeypatch.setattr(stripped, "edgekd", edgekd)
    monkeypatch.setattr(stripped, "race", race)
    return seen


def write_records(folder, **changes):
    folder.mkdir(exist_ok=True)
    record = {"num_params": 900, "macs": 2000, "audit": AUDIT} | changes
    for file in stripped.FILES:
        (folder / f"{file}.json").write_text(json.dumps(record))


def test_the_table_sets_both_beside_each_other(runs, typed, tmp_path):
    rows = stripped.measure(runs, tmp_path / "data.zip", 0)
    assert [arguments[0] for arguments in typed] == ["export", "export", "bench", "bench"]
    table = stripped.table(rows, stripped.describe(runs, rows))
    assert "| student.int8.onnx | 5 | 75.00 | 75.00 | 3.000 | 2.000 | 1.00 ± 0.00 |" in table
    assert "resnet20 by stripped and by labels only, 10 epochs of 50% of the labels" in table
    assert "Test top-1 on 40 images" in table
    assert "spread over 10% to 15% of their p50" in table


def test_files_of_these_weights_are_not_exported_again(runs, typed, tmp_path):
    for run in runs.values():
        write_records(stripped.files_of(run))
    stripped.measure(runs, tmp_path / "data.zip", 0)
    assert [arguments[0] for arguments in typed] == ["bench", "bench"]


@pytest.mark.parametrize(
    "left",
    [{"num_params": 901}, {"macs": 2001}, {"audit": AUDIT | {"float_operators": {"Conv": 4}}}],
)
def test_what_a_branch_left_behind_stops_the_driver(runs, typed, tmp_path, left):
    write_records(stripped.files_of(runs["stripped"]), **left)
    write_records(stripped.files_of(runs["plain"]))
    with pytest.raises(SystemExit, match=r"student\.onnx: .* where the plain student has"):
        stripped.measure(runs, tmp_path / "data.zip", 0)
    assert typed == []
