"""A script as two processes of one group: it is given the store's path and its rank."""

import subprocess
import sys


def say_of_both(script, folder):
    """What each process printed; a failure of either fails the test."""
    arguments = [sys.executable, "-c", script, str(folder / "store")]
    both = [
        subprocess.Popen(
            [*arguments, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=500)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    return outputs
