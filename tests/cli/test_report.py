import json
from pathlib import Path

from edgekd.cli.main import main_inner


def test_the_report_is_written_where_asked(fake_stage, capsys):
    seen = []

    def report(roots, output, console):
        seen.append((roots, output))
        return output

    def terminal_tables(roots):
        return (("digits", ["network", "top-1 %"], [["student", "98.14"]]),)

    fake_stage("edgekd.report.run", report=report, terminal_tables=terminal_tables)
    assert main_inner(["report", "runs", "more", "-o", "report.html", "--json"]) == 0
    assert seen == [((Path("runs"), Path("more")), Path("report.html"))]
    assert json.loads(capsys.readouterr().out) == {"output": "report.html"}
    assert main_inner(["report", "runs", "-o", "report.html"]) == 0
    printed = capsys.readouterr().out
    assert "98.14" in printed
    assert printed.split()[-2:] == ["report", "report.html"]


def test_a_folder_without_records_is_exit_code_2(tmp_path, capsys):
    assert main_inner(["report", str(tmp_path), "-o", str(tmp_path / "report.html")]) == 2
    assert capsys.readouterr().err.startswith("edgekd: error: ")
    assert not (tmp_path / "report.html").exists()
