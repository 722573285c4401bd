import io
import json
import re
import time

import pytest
import rich.console

from edgekd.cli import terminal as terminal_module
from edgekd.cli.terminal import Sheet, Terminal

SHEET = Sheet("", ("file", "p50 ms"), (("a[b].onnx", "1.50"), ("x" * 150, "12.0")))


def test_results_go_to_stdout_and_everything_else_to_stderr(capsys):
    terminal = Terminal()
    terminal.info("said [bold]on[/] the way")
    terminal.warn("look here")
    terminal.show({"a": 1}, SHEET)
    output = capsys.readouterr()
    assert output.err == "said [bold]on[/] the way\nwarning: look here\n"
    lines = output.out.splitlines()
    assert lines[0].split() == ["file", "p50", "ms"]
    assert lines[1].split() == ["a[b].onnx", "1.50"]  # neither markup nor cut
    assert lines[2].split() == ["x" * 150, "12.0"]  # a pipe has no width
    assert len(lines) == 3


def test_json_is_all_there_is_on_stdout(capsys):
    terminal = Terminal(json=True)
    terminal.info("human text")
    terminal.show([{"file": "ä.onnx", "value": None}], SHEET)
    output = capsys.readouterr()
    assert json.loads(output.out) == [{"file": "ä.onnx", "value": None}]
    assert output.err == "human text\n"


def test_json_refuses_what_is_not_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        Terminal(json=True).show({"loss": float("nan")})


def test_quiet_keeps_warnings_and_results(capsys):
    terminal = Terminal(quiet=True)
    terminal.info("never seen")
    terminal.warn("seen")
    with terminal.track("epochs", total=2) as tracker:
        tracker.advance()
        tracker.describe("loss 0.1")
    terminal.show({}, SHEET)
    output = capsys.readouterr()
    assert output.err == "warning: seen\n"
    assert output.out


def test_verbose_says_when_and_every_step(capsys):
    terminal = Terminal(verbose=True)
    with terminal.track("epochs", total=3) as tracker:
        tracker.describe("loss 0.5")
        tracker.advance()
        tracker.advance(2)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("[")
    assert first.endswith(" epochs: 1/3, loss 0.5")  # the first step tells no pace
    assert second.endswith(" epochs: 3/3, loss 0.5")


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    clock = iter(float(second) for second in range(100))  # one second passes at every look
    monkeypatch.setattr(terminal_module.time, "monotonic", lambda: next(clock))
    terminal = Terminal()  # looks at 0
    with terminal.track("steps", total=40, done=10) as tracker:  # starts at 1
        for _ in range(20):
            tracker.advance()
    # Lines at 11 and 21 s: nine steps after the first are too few; 19 in 19 s leave 10, 10 s.
    assert capsys.readouterr().err == "steps: 20/40\nsteps: 30/40, 10 s left\n"


def test_on_a_terminal_progress_is_a_bar_with_the_time_left(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        terminal_module,
        "RichConsole",
        lambda **_: rich.console.Console(file=screen, force_terminal=True, width=120),
    )
    terminal = Terminal()
    with terminal.track("epochs", total=2) as epochs:
        with terminal.track("steps", total=40, done=5) as steps:  # a bar inside a bar
            steps.describe("loss 0.5")
            steps.advance()
            time.sleep(0.3)  # rich draws ten times a second
            early = screen.getvalue()
            steps.advance(10)
            steps.describe("loss 0.25")
            time.sleep(0.3)
        epochs.advance()
    text = screen.getvalue()
    assert "epochs" in text
    assert "6/40" in early
    assert "loss 0.5" in early
    assert "left" not in early
    assert re.search(r"16/40 .* \d+ s left  loss 0.25", text)


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "LOCAL_RANK"])
def test_of_several_processes_only_the_first_speaks(variable, capsys, monkeypatch):
    monkeypatch.setenv(variable, "1")
    terminal = Terminal(json=True)
    terminal.info("twice")
    terminal.warn("twice")
    with terminal.track("steps", total=1) as tracker:
        tracker.advance()
    terminal.show({"twice": True})
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "")


def test_of_the_processes_that_a_batch_script_starts_only_the_first_speaks(capsys, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")  # the script's own, which they inherit
    monkeypatch.setenv("LOCAL_RANK", "1")
    Terminal().show({"twice": True})
    assert capsys.readouterr().out == ""


def test_a_title_and_numbers_on_the_right(capsys):
    Terminal().show({}, Sheet("Sizes", ("file", "size", "version"), (
        ("a", "5 B", "1.2.3"),
        ("b", "346 kB", "11.2.3"),
    )))  # fmt: skip
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "Sizes",
        "file    size  version",
        "a        5 B  1.2.3",
        "b     346 kB  11.2.3",
    ]
