import json
import re

from edgekd.console import SilentConsole
from edgekd.report.channels import channel_sections
from edgekd.report.collect import collect
from edgekd.report.run import report

BLOCKS = [f"stages.{stage}.{n}" for stage, size in enumerate((3, 4, 23, 3)) for n in range(size)]


def shrinking(num_epochs=4, *, blocks=("a", "b"), **changes):
    """Block k starts with 10 (k + 1) channels and loses the first tenth of them per epoch."""
    rows = []
    for epoch in range(num_epochs):
        left = 1 - epoch / 10
        row = {"epoch": epoch, "train_loss": 1.0, "lr": 0.1, "seconds": 1.0}
        row |= {"val_mean_ap": 0.5 + epoch / 10, "macs_share": left, "params_share": left**2}
        row |= {f"kept/{name}": 10.0 * (k + 1) * left for k, name in enumerate(blocks)}
        rows.append(row | changes)
    return "".join(json.dumps(row) + "\n" for row in rows)


def section_of(make, tmp_path, history):
    make.write(tmp_path / "student", "bundle.json", make.bundle())
    (tmp_path / "student" / "history.jsonl").write_text(history)
    (section,) = channel_sections(collect([tmp_path]).networks)
    return section


def texts(section):
    return [[cell.text for cell in line.cells] for line in section.table.lines]


def test_the_table_of_a_run_by_hand(make, tmp_path):
    section = section_of(make, tmp_path, shrinking(3))
    assert section.title == "Channels of student"
    assert [c.header for c in section.table.columns] == [
        "block", "epochs 0 to 2", "first", "last", "left (%)",
    ]  # fmt: skip
    assert texts(section) == [
        ["val mean_ap (%)", "", "50.00", "70.00", ""],
        ["MACs (%)", "", "100.00", "80.00", ""],
        ["parameters (%)", "", "100.00", "64.00", ""],
        ["a", "", "10", "8", "80.0"],
        ["b", "", "20", "16", "80.0"],
    ]
    traces = [[round(y, 6) for y in line.cells[1].trace] for line in section.table.lines]
    assert traces == [[0.5, 0.6, 0.7], [1.0, 0.9, 0.8], [1.0, 0.81, 0.64], *[[1.0, 0.9, 0.8]] * 2]


def test_resnet101_has_33_rows_in_the_order_of_its_blocks(make, tmp_path):
    section = section_of(make, tmp_path, shrinking(120, blocks=BLOCKS))
    assert [row[0] for row in texts(section)[3:]] == BLOCKS
    assert len(BLOCKS) == 33


def test_the_time_that_shrinking_saved_is_told(make, tmp_path):
    notes = section_of(make, tmp_path, shrinking(seconds_saved=200.0)).table.notes
    assert notes[1:] == ("Removing channels during training saved 3 min 20 s of it.",)
    notes = section_of(make, tmp_path, shrinking(seconds_saved=-1.0)).table.notes
    assert notes[1:] == ("Channels were removed during training, which saved no time.",)
    assert len(section_of(make, tmp_path, shrinking()).table.notes) == 1


def test_epochs_that_know_nothing_are_gaps(make, tmp_path):
    lines = shrinking(3).splitlines()
    lines[1] = '{"epoch": 1, "val_mean_ap": null, "kept/a": NaN}'
    section = section_of(make, tmp_path, "\n".join(lines))
    assert [line.cells[1].trace[1] for line in section.table.lines] == [None] * 5


def test_a_block_that_starts_with_nothing_divides_nothing(make, tmp_path):
    section = section_of(make, tmp_path, '{"epoch": 0, "kept/a": 0}\n')
    assert texts(section) == [["a", "", "0", "0", "—"]]


def test_a_run_that_keeps_its_size_has_no_such_section(make, tmp_path):
    assert channel_sections(collect([make.write_runs(tmp_path)]).networks) == ()


def test_the_page_draws_one_strip_per_row_and_the_costs_as_curves(make, tmp_path):
    section_of(make, tmp_path, shrinking(120, blocks=BLOCKS))
    html = report([tmp_path], tmp_path / "report.html", SilentConsole()).read_text()
    assert html.count('<svg class="trace" viewBox="0 0 120 1"') == 33 + 3
    paths = re.findall(r'aria-hidden="true"><path d="([^"]+)"', html)
    assert all(re.fullmatch(r"M0 1(V[\d.]+H\d+)+V1Z", path) for path in paths)
    for caption in ("val mean_ap (%)", "MACs left (%)", "parameters left (%)"):
        assert f"<p>{caption}</p>" in html


def test_hostile_names_of_blocks_stay_text(make, tmp_path):
    name = '"><script>alert(1)</script>$x_1$\u202e'
    section_of(make, tmp_path, shrinking(blocks=(name,)))
    html = report([tmp_path], tmp_path / "report.html", SilentConsole()).read_text()
    assert "<script>" not in html and "\u202e" not in html
    assert "&lt;script&gt;" in html


def test_markdown_shows_the_strips_as_text(make, tmp_path):
    section_of(make, tmp_path, shrinking(4))
    text = report([tmp_path], tmp_path / "report.md", SilentConsole()).read_text()
    assert "## Channels of student" in text
    # 1.0, 0.9, 0.8, 0.7 of ten channels, in eighths: 8, 7, 6, 5
    assert "└ a | █▇▆▅ | 10 | 7 | 70.0 |".replace("▇▆▅", "█▇▆") in text
    assert "| val mean\\_ap (%) | ▅▅▆▇ | 50.00 | 80.00 |  |" in text
