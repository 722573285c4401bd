import subprocess
import sys

import pytest

from edgekd.cli.extras import needs_extra

WITHOUT_TORCH = (
    "import sys\n"
    "sys.modules['torch'] = None\n"  # what Python does for a module that is not there
    "from edgekd.cli.main import main_inner\n"
    "sys.exit(main_inner(sys.argv[1:]))"
)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["teach", "--data", "d", "--model", "m", "-o", "o"],
            "torch is not installed and is needed to train a network: pip install 'edgekd[train]'",
        ),
        (
            ["export", "runs/s", "-o", "o"],
            "torch is not installed and is needed to write model files: "
            "pip install 'edgekd[export]'",
        ),
    ],
)
def test_a_stage_without_its_extra_is_exit_code_7(arguments, line):
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (7, f"edgekd: error: {line}\n")


def test_a_missing_module_of_edgekd_is_a_bug():
    with pytest.raises(ModuleNotFoundError), needs_extra("train", purpose="train a network"):
        import edgekd.nowhere  # noqa: F401
