import hashlib
import warnings

import numpy as np
import pytest

from edgekd.data import files
from edgekd.data.files import FileImages, check_files, choose_threads
from edgekd.data.images import UnreadableFileError
from edgekd.errors import DataError
from edgekd.records import ImageInput


class MemoryStore:
    def __init__(self, contents: dict[str, bytes]) -> None:
        self.names = tuple(contents)
        self._contents = contents

    def read(self, name: str) -> bytes:
        if name not in self._contents:
            raise UnreadableFileError(name, "gone")
        return self._contents[name]


def spec(size: int) -> ImageInput:
    return ImageInput(channels=1, height=size, width=size, mean=(0.0,), std=(1.0,))


@pytest.fixture
def mixed(png):
    contents = {f"{i}.png": png((i, i, i), size=(i + 1, 2)) for i in range(80)}
    return MemoryStore({**contents, "3.png": b"broken", "50.png": b""})


@pytest.mark.parametrize("threads", [1, 3])
def test_bad_files_are_named_counted_and_left_out(mixed, console, monkeypatch, threads):
    monkeypatch.setattr(files, "choose_threads", lambda store, names: threads)
    checked = check_files(mixed, mixed.names, max_bad_files=2, console=console)
    assert checked.skipped == ("3.png", "50.png")
    assert [text.split(":")[0] for text in console.warnings] == ["skipped 3.png", "skipped 50.png"]
    assert len(checked.names) == 78
    assert checked.positions.tolist() == [i for i in range(80) if i not in (3, 50)]
    assert checked.sizes[0].tolist() == [2, 1]  # height, width
    assert checked.digests[0] == hashlib.sha256(mixed.read("0.png")).digest()
    assert console.tracker.done == 80


@pytest.mark.parametrize("threads", [1, 3])
def test_more_bad_files_than_allowed_is_an_error(mixed, console, monkeypatch, threads):
    monkeypatch.setattr(files, "choose_threads", lambda store, names: threads)
    with pytest.raises(DataError, match=r"more than 1 unreadable files \(first: 3.png, 50.png\)"):
        check_files(mixed, mixed.names, max_bad_files=1, console=console)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_come_in_the_order_asked(png, monkeypatch, threads):
    monkeypatch.setattr(files, "choose_threads", lambda store, names: threads)
    store = MemoryStore({f"{i}.png": png((i, i, i)) for i in range(100)})
    rows = np.random.default_rng(0).integers(0, 100, 200)
    loaded = FileImages(store, store.names).load(rows, spec(2))
    assert loaded.shape == (200, 2, 2, 1)
    assert loaded[:, 1, 1, 0].tolist() == rows.tolist()


def test_a_file_that_vanished_is_an_error(png):
    images = FileImages(MemoryStore({"a.png": png()}), ("a.png", "b.png"))
    with pytest.raises(DataError, match=r"b.png: gone"):
        images.load(np.array([1]), spec(2))


def test_small_files_get_one_thread_and_large_ones_several(monkeypatch):
    monkeypatch.setattr(files.os, "cpu_count", lambda: 8)
    small, large = MemoryStore({"a": b"x"}), MemoryStore({"a": bytes(20_000)})
    assert choose_threads(small, ("a",)) == 1
    assert choose_threads(large, ("a",)) == 4
    assert choose_threads(small, ("missing",)) == 1
    assert choose_threads(small, ()) == 1


def test_pillows_warnings_are_kept_from_the_user(console, monkeypatch):
    def noisy(content: bytes, name: str) -> tuple[int, int]:
        warnings.warn_explicit("odd metadata", UserWarning, "Image.py", 1, module="PIL.Image")
        return 1, 1

    monkeypatch.setattr(files, "check_image", noisy)
    store = MemoryStore({"a.png": b""})
    assert check_files(store, store.names, max_bad_files=0, console=console).names == ("a.png",)


def test_no_readable_image_at_all_says_why(console):
    store = MemoryStore({"cat/1.png": b"bad", "dog/2.png": b""})
    said = r"none of 2 image file\(s\) can be read, the first is cat/1\.png: not a readable image"
    with pytest.raises(DataError, match=said):
        check_files(store, store.names, max_bad_files=10, console=console)


def test_names_cannot_steer_the_terminal(console, png):
    store = MemoryStore({"\x1b[2Jx.png": b"bad", "good.png": png()})
    check_files(store, store.names, max_bad_files=1, console=console)
    assert console.warnings[0].startswith("skipped ?[2Jx.png: not a readable image")
