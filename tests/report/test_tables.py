from edgekd.report.collect import collect
from edgekd.report.tables import main_table, terminal_table
from edgekd.report.units import DASH, MINUS, TIMES


def _table(root):
    (group,) = collect([root]).groups
    return main_table(group)


def _column(table, header):
    (index,) = [i for i, column in enumerate(table.columns) if column.header == header]
    return [line.cells[index] for line in table.lines]


def test_the_worked_example_with_units_in_the_headers(make, tmp_path):
    table = _table(make.write_runs(tmp_path))
    assert [column.header for column in table.columns] == [
        "model",
        "top1 (%)",
        "drop (points)",
        "parameters (k)",
        "MACs (M)",
        "size (kB)",
        "p50 (ms)",
        "p90 (ms)",
        "p99 (ms)",
        "cold start (ms)",
        "peak RSS (MB)",
        "speed-up",
    ]
    assert table.columns[1].detail == "test, n = 200"
    last = [cell.text for cell in table.lines[-1].cells]
    # p90 and p99 are 1.008 and 1.0098 of the median by construction; 20 + 5 ms to a first answer
    assert last == [
        "exported/student.int8.tflite",
        "95.50",
        f"{MINUS}0.50",
        "78.0",
        "12.5",
        "90.0",
        "0.100",
        "0.101",
        "0.101",
        "25.0",
        "12.0",
        "16.0×",  # noqa: RUF001 - as shown
    ]
    assert [cell.text for cell in _column(table, "MACs (M)")[:3]] == ["40.0", "40.0", "12.5"]
    assert "Measured on local, 1 thread." in table.notes[1]


def test_what_was_not_measured_is_a_dash(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    table = _table(tmp_path)
    assert [cell.text for cell in table.lines[0].cells[5:]] == [DASH] * 7
    assert any("Nothing was measured yet" in note for note in table.notes)


def test_a_percentile_with_too_few_calls_is_a_dash(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, latencies_ns=(1_000_000,) * 50),
    )
    table = _table(tmp_path)
    assert [_column(table, f"{p} (ms)")[1].text for p in ("p50", "p90", "p99")] == [
        "1.00",
        "1.00",
        DASH,
    ]


def test_an_emulated_device_shows_memory_and_metric_but_no_time(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement(
            "m.onnx",
            sha256="1" * 64,
            p50_ms=1.0,
            metric=make.top1(0.9),
            device_info=make.device(arch="aarch64", emulated=True),
        ),
    )
    table = _table(tmp_path)
    for header in ("p50 (ms)", "p90 (ms)", "p99 (ms)", "cold start (ms)", "speed-up"):
        assert _column(table, header)[1].text == DASH
    assert _column(table, "peak RSS (MB)")[1].text == "12.0"
    assert _column(table, "top1 (%)")[1].text == "90.00"


def test_several_settings_get_a_column_and_repeat_no_cost(make, tmp_path):
    make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=2.0),
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, num_threads=2),
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, num_threads=2),
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=9.0, num_threads=2, created="2025-01-01"
        ),
    )
    table = _table(tmp_path)
    assert [cell.text for cell in _column(table, "device")] == [
        DASH,
        "local, 1 thread",
        "local, 2 threads",
    ]
    assert [cell.text for cell in _column(table, "size (kB)")] == [DASH, "320", ""]
    assert [cell.bar for cell in _column(table, "p50 (ms)")] == [None, 1.0, 0.5]
    assert [line.repeats for line in table.lines] == [False, False, True]
    assert "1 older not shown" in table.notes[-1]


def test_metrics_that_differ_in_samples_each_say_theirs(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(
        tmp_path,
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.9, num_samples=100)
        ),
    )
    table = _table(tmp_path)
    assert [cell.detail for cell in _column(table, "top1 (%)")] == [
        "test, n = 200",
        "test, n = 100",
    ]
    assert [cell.text for cell in _column(table, "drop (points)")] == [DASH, DASH]


def test_a_metric_of_other_data_is_marked_and_one_that_is_left_out_is_noted(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    data = make.provenance().data
    other = data.model_copy(update={"source": "some/other.zip", "fingerprint": "9" * 64})

    def measure(file, value, day, of):
        return make.measurement(
            file, sha256=file[0] * 64, p50_ms=1.0, metric=make.top1(value), data=of,
            created=f"2026-11-0{day}T10:00:00+00:00",
        )  # fmt: skip

    make.write_measurements(
        tmp_path,
        measure("1.onnx", 0.94, 1, data),
        measure("1.onnx", 0.1, 2, other),
        measure("2.onnx", 0.2, 2, other),
    )
    table = _table(tmp_path)
    shown = {(cell.text, cell.detail) for cell in _column(table, "top1 (%)")}
    assert shown == {("95.00", ""), ("94.00", ""), ("20.00", "other data: other.zip")}
    assert table.notes[-1].endswith("1 of other data not shown.")


def test_the_terminal_gets_the_same_cells_as_text(make, tmp_path):
    (group,) = collect([make.write_runs(tmp_path)]).groups
    headers, rows = terminal_table(group)
    table = main_table(group)
    assert headers[:3] == ["model", "top1 (%) (test, n = 200)", "drop (points)"]
    assert {len(row) for row in rows} == {len(headers)}
    assert [row[0].replace("\N{NO-BREAK SPACE}", " ") for row in rows[:4]] == [
        "teacher",
        "└ teacher-exported/student.onnx",
        "└ student",
        "  └ exported/student.onnx",
    ]
    assert [row[6] for row in rows] == [line.cells[6].text for line in table.lines]
    assert rows[2][2] == "2.00 (vs teacher)"


def test_a_speedup_over_the_own_fp32_file_is_called_so(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0),
        make.measurement("m.int8.onnx", sha256="2" * 64, p50_ms=0.25),
        make.measurement("m.int8.tflite", sha256="3" * 64, p50_ms=0.1),
    )
    table = _table(tmp_path)
    assert (table.columns[-1].header, table.columns[-1].detail) == ("speed-up", "vs fp32 file")
    cells = [(line.cells[0].text, line.cells[-1]) for line in table.lines[1:]]
    assert [(name, cell.text, cell.detail) for name, cell in cells] == [
        ("m.onnx", f"1.00{TIMES}", ""),
        ("m.int8.onnx", f"4.00{TIMES}", ""),
        ("m.int8.tflite", DASH, ""),
    ]
    over, dash = (note for note in table.notes if "speed-up" in note.lower())
    assert over.startswith("Speed-up vs fp32 file: over the same network's fp32 file")
    assert dash.startswith("A dash for a speed-up: neither a teacher nor an fp32 file")


def test_what_was_missing_stands_in_the_row_where_nothing_else_was_measured(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.7), missing=("gyro",)
        ),
    )
    cells = _column(_table(tmp_path), "device")
    assert [cell.text for cell in cells][1:] == ["local, 1 thread, without gyro"]


def test_what_was_missing_stands_beside_the_device_and_in_a_note(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.9)),
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.7), missing=("gyro",)
        ),
    )
    table = _table(tmp_path)
    assert [cell.text for cell in _column(table, "device")][1:] == [
        "local, 1 thread",
        "local, 1 thread, without gyro",
    ]
    assert [cell.text for cell in _column(table, "top1 (%)")][1:] == ["90.00", "70.00"]
    assert any(note.startswith("Without an input: its training mean") for note in table.notes)
