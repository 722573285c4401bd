import hashlib
import io
import tarfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from edgekd.data import cifar
from edgekd.data.cifar import CifarArchive, cache_folder, open_cifar
from edgekd.errors import DataError, OutputError
from edgekd.records import ImageInput

RECORDS = np.random.default_rng(0).integers(0, 256, (6, 2 + 3072), dtype=np.uint8)
RECORDS[:, 0] = 77  # the coarse label, not used
RECORDS[:, 1] = [0, 1, 0, 1, 0, 1]


def tar_of(members: dict[str, bytes], link: str | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
    return out.getvalue()


def members() -> dict[str, bytes]:
    return {
        "c/names.txt": b"apple\nbear\n\n",
        "c/train.bin": RECORDS[:4].tobytes(),
        "../../evil.bin": b"x",
        "c/test.bin": RECORDS[4:].tobytes(),
    }


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Put an archive into the cache and describe it."""
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))

    def put_(content: bytes, md5: str | None = None, present: bool = True) -> CifarArchive:
        if present:
            cache_folder().mkdir(exist_ok=True)
            (cache_folder() / "c.tar.gz").write_bytes(content)
        return CifarArchive(
            file="c.tar.gz",
            md5=md5 or hashlib.md5(content, usedforsecurity=False).hexdigest(),
            folder="c",
            batches=(("train.bin", "train", 4), ("test.bin", "test", 2)),
            class_file="names.txt",
            label_bytes=2,
            num_classes=2,
        )

    return put_


def test_records_become_images_labels_and_splits(put, recipe, console):
    contents = open_cifar(put(tar_of(members())), recipe("c"), console)
    assert contents.class_names == ("apple", "bear")
    assert contents.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert contents.given_splits == ("train",) * 4 + ("test",) * 2
    assert contents.names[4] == "test.bin[0]"
    spec = ImageInput(channels=3, height=32, width=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = contents.reader.load(np.arange(6), spec)
    # red plane, then green, then blue, each row by row: pixel (row 2, column 5)
    place = 2 + 2 * 32 + 5
    assert pixels[3, 2, 5].tolist() == [RECORDS[3, place + plane * 1024] for plane in range(3)]


@pytest.mark.parametrize("change", ["missing", "short", "link", "labels", "names"])
def test_archives_that_are_not_cifar_are_refused(put, recipe, console, change):
    files = members()
    if change in ("missing", "link"):
        del files["c/test.bin"]
    if change == "short":
        files["c/test.bin"] = files["c/test.bin"][:-1]
    if change == "labels":
        files["c/test.bin"] = bytes([0, 9]) * (2 * 3074 // 2)
    if change == "names":
        files["c/names.txt"] = b"apple"
    content = tar_of(files, link="c/test.bin" if change == "link" else None)
    with pytest.raises(DataError, match=r"lacks test.bin|labels that are not CIFAR's"):
        open_cifar(put(content), recipe("c"), console)


def test_the_checksum_comes_first(put, recipe, console):
    with pytest.raises(DataError, match="its md5 is not 0123"):
        open_cifar(put(tar_of(members()), md5="0123"), recipe("c"), console)


def test_a_truncated_archive_is_refused(put, recipe, console):
    with pytest.raises(DataError, match=r"cannot be read|lacks"):
        open_cifar(put(tar_of(members())[:-3000]), recipe("c"), console)


def test_nothing_is_fetched_unasked(put, recipe, console):
    with pytest.raises(DataError, match=r"c.tar.gz is missing; add --download"):
        open_cifar(put(b"", present=False), recipe("c"), console)


class Response(io.BytesIO):
    headers: ClassVar = {"Content-Length": "5"}


def test_a_download_is_kept_for_the_next_time(put, recipe, console, monkeypatch):
    content = tar_of(members())
    fetched = []

    def urlopen(url, timeout):
        fetched.append(url)
        return Response(content)

    monkeypatch.setattr(cifar.urllib.request, "urlopen", urlopen)
    archive = put(content, present=False)
    for _ in range(2):
        assert len(open_cifar(archive, recipe("c", download=True), console).labels) == 6
    assert fetched == ["https://www.cs.toronto.edu/~kriz/c.tar.gz"]
    assert console.tracker.done == len(content)


def test_a_failed_download_leaves_nothing_behind(put, recipe, console, monkeypatch):
    def urlopen(url, timeout):
        raise OSError("no route")

    monkeypatch.setattr(cifar.urllib.request, "urlopen", urlopen)
    with pytest.raises(DataError, match=r"cannot be fetched.*no route"):
        open_cifar(put(b"", present=False), recipe("c", download=True), console)
    assert list(cache_folder().iterdir()) == []


def test_a_download_without_end_is_stopped(put, recipe, console, monkeypatch):
    monkeypatch.setattr(cifar, "_MAX_DOWNLOAD", 10)
    monkeypatch.setattr(cifar.urllib.request, "urlopen", lambda url, timeout: Response(bytes(99)))
    with pytest.raises(DataError, match="larger than expected"):
        open_cifar(put(b"", present=False), recipe("c", download=True), console)
    assert list(cache_folder().iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(put, recipe, console, tmp_path):
    archive = put(b"", present=False)
    (tmp_path / "cache").write_bytes(b"a file in the way")
    with pytest.raises(OutputError, match="set EDGEKD_CACHE"):
        open_cifar(archive, recipe("c", download=True), console)


def test_where_the_cache_is(monkeypatch):
    monkeypatch.delenv("EDGEKD_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/edgekd")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "edgekd"
