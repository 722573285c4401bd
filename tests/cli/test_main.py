import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgekd import errors
from edgekd.cli import main
from edgekd.cli.main import COMMANDS, main_inner
from edgekd.errors import (
    BundleError,
    ConfigError,
    DataError,
    DeviceError,
    DivergenceError,
    EdgekdError,
    ExportError,
    InterruptedRun,
    MissingExtraError,
    ModelError,
    OutputError,
    ParityError,
    UsageError,
)

# The codes are a promise to scripts: written down here a second time, from the words.
EXIT_CODES = [
    (EdgekdError("cause; remedy"), 1, "edgekd: error: cause; remedy\n"),
    (UsageError("cause; remedy"), 2, "edgekd: error: cause; remedy\n"),
    (ConfigError("cause; remedy"), 3, "edgekd: error: cause; remedy\n"),
    (DataError("cause; remedy"), 4, "edgekd: error: cause; remedy\n"),
    (BundleError("cause; remedy"), 5, "edgekd: error: cause; remedy\n"),
    (ParityError("cause; remedy"), 6, "edgekd: error: cause; remedy\n"),
    (
        MissingExtraError("onnxruntime", extra="bench", purpose="run ONNX files"),
        7,
        "edgekd: error: onnxruntime is not installed and is needed to run ONNX files: "
        "pip install 'edgekd[bench]'\n",
    ),
    (ModelError("cause; remedy"), 8, "edgekd: error: cause; remedy\n"),
    (DivergenceError("cause; remedy"), 9, "edgekd: error: cause; remedy\n"),
    (OutputError("cause; remedy"), 10, "edgekd: error: cause; remedy\n"),
    (DeviceError("cause; remedy"), 11, "edgekd: error: cause; remedy\n"),
    (ExportError("cause; remedy"), 12, "edgekd: error: cause; remedy\n"),
    (InterruptedRun("stopped; --resume goes on"), 130, "edgekd: stopped; --resume goes on\n"),
]


def _raising(error: BaseException):
    def bench(*arguments: object) -> None:
        raise error

    return bench


def _error_classes() -> set[type[EdgekdError]]:
    members = vars(errors).values()
    return {m for m in members if isinstance(m, type) and issubclass(m, EdgekdError)}


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgekd.cli.main", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.mark.parametrize(("error", "code", "line"), EXIT_CODES, ids=lambda v: type(v).__name__)
def test_a_users_fault_is_one_line_and_its_own_exit_code(error, code, line, fake_stage, capsys):
    fake_stage("edgekd.bench.run", bench=_raising(error), rows=list)
    assert main_inner(["bench", "somewhere"]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == line


def test_every_error_class_is_tested_and_no_two_share_a_code():
    assert {type(error) for error, _, _ in EXIT_CODES} == _error_classes()
    codes = [code for _, code, _ in EXIT_CODES]
    assert len(set(codes)) == len(codes)


def test_the_traceback_is_shown_when_asked_for(fake_stage, capsys, monkeypatch):
    monkeypatch.setenv("EDGEKD_TRACEBACK", "1")
    fake_stage("edgekd.bench.run", bench=_raising(DataError("bad")), rows=list)
    assert main_inner(["bench", "somewhere"]) == 4
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last)")
    assert error.endswith("edgekd: error: bad\n")


def test_a_bug_keeps_its_traceback(fake_stage):
    fake_stage("edgekd.bench.run", bench=_raising(ZeroDivisionError("a bug")), rows=list)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main_inner(["bench", "somewhere"])


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_130_without_a_traceback(interrupt, fake_stage, capsys):
    fake_stage("edgekd.bench.run", bench=_raising(interrupt), rows=list)
    assert main_inner(["bench", "somewhere"]) == 130
    assert (
        capsys.readouterr().err.strip() == "edgekd: stopped; every file that was finished is whole"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["distil"], "no command 'distil', did you mean distill; see 'edgekd --help'"),
        (["x"], "no command 'x', known: " + ", ".join(COMMANDS) + "; see 'edgekd --help'"),
        (["--nope"], "no such option '--nope'; see 'edgekd --help'"),
        (["bench"], "missing argument 'PATHS...'; see 'edgekd bench --help'"),
        (["teach"], "missing option '-o' / '--output'; see 'edgekd teach --help'"),
        (
            ["doctor", "--quiet", "--verbose"],
            "--quiet and --verbose contradict each other; give one of them",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(arguments, line, capsys):
    assert main_inner(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"edgekd: error: {line}\n"


def test_help_and_version_leave_with_0(capsys):
    assert main_inner(["--version"]) == 0
    assert capsys.readouterr().out == "edgekd, version 0.1.0\n"
    for name in COMMANDS:
        assert main_inner([name, "--help"]) == 0
        assert f"Usage: edgekd {name}" in capsys.readouterr().out


def test_help_lists_every_command_with_its_line(capsys):
    assert main_inner(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:<7}  {line}\n" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_module_holds_a_command_of_its_name(name):
    context = click.Context(main.cli)
    command = main.cli.get_command(context, name)
    assert command is not None
    assert command.name == name


def test_help_imports_nothing_heavy():
    program = (
        "import json, sys\n"
        "from edgekd.cli.main import main_inner\n"
        "status = main_inner(['--help'])\n"
        "print(json.dumps([status, sorted(sys.modules)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert "click" in modules
    assert not {"torch", "numpy", "pydantic", "rich", "edgekd.config"} & set(modules)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_does_not_import_its_stage(name):
    program = (
        "import json, sys\n"
        "from edgekd.cli.main import main_inner\n"
        f"main_inner([{name!r}, '--help'])\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    modules = set(json.loads(done.stdout.splitlines()[-1]))
    assert not {"torch", "onnx", "tensorflow", "matplotlib", f"edgekd.{name}.run"} & modules


def test_a_closed_pipe_is_no_traceback():
    # The reader is gone before anything is written, as in `edgekd doctor --json | head -0`.
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "edgekd.cli.main", "doctor", "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_the_process_leaves_with_the_code_of_the_error(tmp_path: Path):
    done = _run("inspect", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"edgekd: error: {tmp_path}/nothing: does not exist; "
        "give a bundle folder, model file or record\n"
    )


def test_shell_completion_offers_commands_and_words():
    done = _run(_EDGEKD_COMPLETE="bash_complete", COMP_WORDS="edgekd di", COMP_CWORD="1")
    assert done.stdout == "plain,distill\n"
    done = _run(
        _EDGEKD_COMPLETE="bash_complete",
        COMP_WORDS="edgekd teach --accelerator c",
        COMP_CWORD="3",
    )
    assert done.stdout == "plain,cpu\nplain,cuda\n"
