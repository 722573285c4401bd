import json

from edgekd.report.collect import collect
from edgekd.report.details import detail_sections
from edgekd.report.units import DASH


def _section(root, title):
    found = [section for section in detail_sections(collect([root])) if section.title == title]
    return found[0] if found else None


def _texts(section):
    return [[cell.text for cell in line.cells] for line in section.table.lines]


def test_training_in_numbers(make, tmp_path):
    section = _section(make.write_runs(tmp_path), "Training")
    # 8 epochs of 10 s: the last loss is 2/8, the last val metric 1 - 1/256
    shown = " | ".join(_texts(section)[1])
    assert shown == "student | 8 | 0.250 | 99.61 | 99.61 | 0.100 | 0 | 1 min 20 s"
    assert section.table.lines[1].cells[4].detail == "epoch 8"
    assert [curves.label for curves in section.curves] == ["teacher", "student"]


def test_a_run_that_never_validated_or_timed_has_dashes(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    (tmp_path / "history.jsonl").write_text('{"epoch": 0, "train_loss": 0.5}\n')
    (cells,) = _texts(_section(tmp_path, "Training"))
    assert cells[1:] == ["1", "0.500", DASH, DASH, DASH, DASH, DASH]


def test_devices_show_what_is_known_and_dash_what_is_not(make, tmp_path):
    table = dict(_texts(_section(make.write_runs(tmp_path), "Devices")))
    assert (table["CPU"], table["memory"], table["board"], table["emulated"]) == (
        "Example CPU",
        "8.00 GB",
        DASH,
        "no",
    )
    assert table["runtimes"] == "onnxruntime 1.31.1"


def test_the_state_of_a_device_is_rounded_and_zero_is_a_figure(make, tmp_path):
    for number, state in enumerate(
        (
            {"load_average": 4.28271484375, "frequency_mhz": 2400.25, "temperature_c": 71.26},
            {"load_average": 0.0, "frequency_mhz": None, "temperature_c": 0.0},
        )
    ):
        info = make.device(cpu=f"CPU {number}", **state)
        record = make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, device_info=info)
        make.write_measurements(tmp_path, record)
    table = {name: values for name, *values in _texts(_section(tmp_path, "Devices"))}
    assert table["load average"] == ["4.28", "0.00"]
    assert table["frequency (MHz)"] == ["2,400", DASH]
    assert table["temperature (°C)"] == ["71.3", "0.0"]


def test_provenance_is_enough_to_repeat_the_run(make, tmp_path):
    section = _section(make.write_runs(tmp_path), "Provenance")
    teacher, student = section.table.lines
    assert [cell.text for cell in student.cells] == [
        "student",
        "runs/teacher",
        "builtin:digits",
        "1,258 / 269 / 200",
        "7",
        "bf16",
        "2",
        "3 min 20 s",
        "2026-11-01T10:00:00+00:00",
        "laptop",
        "0123456789ab",
        "b" * 12,
    ]
    assert teacher.cells[1].text == DASH
    listing = json.loads("\n".join(section.listings[1].lines))
    assert listing["recipe"]["kd"] == {"temperature": 4.0}
    assert listing["versions"]["torch"] == "2.14.1"


def test_sections_without_records_are_left_out(make, tmp_path):
    make.write_measurements(tmp_path, make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0))
    titles = [section.title for section in detail_sections(collect([tmp_path]))]
    assert titles == ["Devices"]
