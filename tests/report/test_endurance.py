from edgekd.records import Energy, Sustained, SustainedPoint
from edgekd.report.collect import collect
from edgekd.report.endurance import endurance_section
from edgekd.report.units import DASH

ENERGY = Energy(
    source="EXT5V of the power chip", joules_per_inference=0.0125, idle_watts=2.5, num_inferences=9
)


def run(*p50s_ns, temperatures=(45.0, 71.26), frequency=2400.0):
    """A sustained run of an hour with these stretches, the first and last of them a tenth."""
    ends = {0: temperatures[0], len(p50s_ns) - 1: temperatures[1]}
    points = [
        SustainedPoint(
            at_seconds=float(index), num_calls=3, p50_ns=p50, temperature_c=ends.get(index),
            frequency_mhz=frequency,
        )
        for index, p50 in enumerate(p50s_ns)
    ]  # fmt: skip
    return Sustained(
        seconds=60.0, first_p50_ns=p50s_ns[0], last_p50_ns=p50s_ns[-1], points=tuple(points)
    )


def section_of(make, root, *changes):
    """Of one file per set of changes to its measurement."""
    records = [
        make.measurement(f"m{number}.onnx", sha256=str(number) * 64, p50_ms=1.0, **fields)
        for number, fields in enumerate(changes)
    ]
    make.write_measurements(root, *records)
    return endurance_section(collect([root]).networks)


def texts(line):
    return [cell.text for cell in line.cells]


def test_heat_and_energy_of_a_file(make, tmp_path):
    section = section_of(
        make, tmp_path, {"sustained": run(1_000_000, 2_000_000, 1_250_000), "energy": ENERGY}
    )
    (line,) = section.table.lines
    # the last tenth takes a quarter longer; 12.5 mJ
    assert texts(line) == [
        "m0.onnx", "local, 1 thread", "1 min 00 s", "", "1.00", "1.25", "25.0", "45.0 to 71.3",
        "2,400 to 2,400", "12.5", "2.50", "EXT5V of the power chip",
    ]  # fmt: skip
    assert line.cells[3].trace == (1.0, 0.5, 0.8)  # of the fastest stretch's speed
    assert len(section.table.columns) == len(line.cells)


def test_what_was_not_measured_is_a_dash_with_its_reason(make, tmp_path):
    silent = run(1_000_000, temperatures=(None, None), frequency=None)
    unknown = {"temperature_c": "no thermal zone in /sys"}
    section = section_of(
        make,
        tmp_path,
        {"sustained": silent, "device_info": make.device(unknown=unknown)},
        {"energy_unknown": "RAPL is for root"},
        {"energy": ENERGY},
    )
    first, second, third = section.table.lines
    assert [(cell.text, cell.detail) for cell in first.cells[7:9]] == [
        (DASH, "no thermal zone in /sys"),
        (DASH, "it does not say"),
    ]
    assert (first.cells[9].text, first.cells[9].detail) == (DASH, "not asked for")
    assert (second.cells[9].text, second.cells[9].detail) == (DASH, "RAPL is for root")
    assert texts(second)[2:] == [DASH] * 10
    assert (third.cells[2].text, third.cells[2].detail) == (DASH, "not asked for")


def test_without_any_figure_of_energy_its_reasons_are_one_sentence(make, tmp_path):
    local, board = {"energy_unknown": "no INA sensor"}, {"energy_unknown": "RAPL is for root"}
    board |= {"device": "rpi"}
    section = section_of(make, tmp_path / "a", local, local, board)
    assert section.table is None
    assert section.lead == (
        "Energy per inference is not known: no INA sensor (local); RAPL is for root (rpi).",
    )
    hot = section_of(make, tmp_path / "b", local | {"sustained": run(1_000_000)}, local)
    assert hot.lead == ("Energy per inference is not known: no INA sensor (local).",)
    assert [column.header for column in hot.table.columns][-1] == "frequency (MHz)"


def test_only_what_was_asked_for_has_columns(make, tmp_path):
    hot = section_of(make, tmp_path / "a", {"sustained": run(1_000_000)})
    assert [column.header for column in hot.table.columns][-1] == "frequency (MHz)"
    told = section_of(make, tmp_path / "b", {"energy": ENERGY})
    headers = [column.header for column in told.table.columns]
    assert headers[2:] == ["energy (mJ per inference)", "idle (W)", "power read from"]
    assert section_of(make, tmp_path / "c", {}) is None


def test_nothing_of_an_emulated_device_is_shown(make, tmp_path):
    emulated = make.device(emulated=True)
    fields = {"sustained": run(1_000_000), "energy": ENERGY, "device_info": emulated}
    assert section_of(make, tmp_path / "a", fields) is None
    beside = section_of(make, tmp_path / "b", fields, {"energy": ENERGY})
    shown = {line.cells[0].text: line.cells[2] for line in beside.table.lines}
    assert (shown["m0.onnx"].text, shown["m0.onnx"].detail) == (DASH, "emulated")
    assert shown["m1.onnx"].text == "12.5"
