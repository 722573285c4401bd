import pytest

from edgekd.devices.provision import Board, advice, obstacles, require
from edgekd.devices.session import RefusedError
from edgekd.errors import DeviceError


def board(**changes):
    fields = {
        "name": "rpi",
        "device": {"arch": "aarch64"},
        "bits": 64,
        "python": (3, 11, 2),
        "implementation": "CPython",
        "libc": ("glibc", "2.36"),
        "folder": "/home/pi/.cache/edgekd",
        "writable": None,
        "free_bytes": 10**9,
    }
    return Board(**{**fields, **changes})


def test_a_raspberry_pi_of_today_will_do():
    assert obstacles(board()) == []
    require(board())
    target = board().target
    assert (target.arch, target.glibc, target.python) == ("aarch64", (2, 36), (3, 11))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bits": 32, "device": {"arch": "armv7l"}}, "rpi: a 32-bit system (armv7l)"),
        ({"bits": 32}, "install the 64-bit system on the board"),  # 64-bit kernel, 32-bit Python
        ({"device": {"arch": "mips64"}}, "a mips64 processor"),
        ({"libc": ("", "")}, "its C library is not glibc"),
        ({"implementation": "PyPy"}, "its Python is PyPy"),
        ({"writable": "Read-only file system"}, "cannot be written (Read-only file system)"),
    ],
)
def test_each_obstacle_is_one_line_with_a_remedy(changes, said):
    with pytest.raises(DeviceError) as caught:
        require(board(**changes))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("full", "b: the disk is full (words); free space in /f"),
        ("locked", "b: it is being used by words; wait until that is over"),
        ("hash", "b: words: it was damaged on its way"),
        ("imports", "b: words; the system there may be too old"),
        ("system", "b: words; check /f on the board"),
    ],
)
def test_each_refusal_of_the_agent_has_its_line(kind, said):
    assert said in str(advice("b", "/f", RefusedError(kind, "words")))
