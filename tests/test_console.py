import pytest

from edgekd.console import SilentConsole


def test_a_library_user_gets_warnings_and_nothing_else(capsys):
    console = SilentConsole()
    console.info("a line")
    with console.track("work", 3, done=1) as tracker:
        tracker.advance()
        tracker.describe("still")
    with pytest.warns(UserWarning, match="must not be missed"):
        console.warn("must not be missed")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
