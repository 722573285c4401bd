"""What every test shares: one thread per process, repeatable examples, no colour."""

import os

# Before anything imports torch or NumPy; child processes inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NO_COLOR"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("EDGEKD_TRACEBACK", None)

import pytest
from hypothesis import settings

# No deadline: a loaded machine is not a failure. Derandomized: the same suite, the same result.
settings.register_profile("edgekd", deadline=None, derandomize=True)
settings.load_profile("edgekd")


@pytest.fixture(scope="session", autouse=True)
def _caches_of_its_own(tmp_path_factory):
    """The user's cache is neither read nor filled; child processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
