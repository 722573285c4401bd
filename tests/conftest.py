"""What every test shares: one thread per process, repeatable examples, no colour."""

import os

# Before anything imports torch or NumPy; child processes inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_COLOR"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("EDGEKD_TRACEBACK", None)

from hypothesis import settings

# No deadline: a loaded machine is not a failure. Derandomized: the same suite, the same result.
settings.register_profile("edgekd", deadline=None, derandomize=True)
settings.load_profile("edgekd")
