import os
import struct
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.data import store
from edgekd.data.images import UnreadableFileError
from edgekd.data.store import FolderStore, ZipStore, refuse_bomb, walk_images
from edgekd.errors import DataError


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_back_what_was_put_in(make_zip, method):
    files = {"b/2.png": b"two" * 500, "a/1.JPG": b"", "README.md": b"no image"}
    zipped = ZipStore(make_zip(files, method=method))
    assert zipped.names == ("a/1.JPG", "b/2.png")
    assert zipped.ignored == ("README.md",)
    assert [zipped.read(name) for name in zipped.names] == [b"", b"two" * 500]


def test_a_zip_with_something_before_it_is_read(make_zip, tmp_path):
    plain = make_zip({"a/1.png": b"one"})
    moved = tmp_path / "moved.zip"
    moved.write_bytes(b"#!/bin/sh\n" + plain.read_bytes())
    assert ZipStore(moved).read("a/1.png") == b"one"


@pytest.mark.parametrize(
    "name", ["../a/1.png", "/etc/1.png", "a/../../1.png", "C:/1.png", "a\x1b/1.png"]
)
def test_hostile_names_are_refused(make_zip, name):
    with pytest.raises(DataError, match="hostile member name"):
        ZipStore(make_zip({name: b""}))


def test_a_member_without_a_name_is_no_image(make_zip):
    path = make_zip({"q": b""})
    path.write_bytes(path.read_bytes().replace(b"q", b"\0"))
    assert ZipStore(path).names == ()


def test_backslashes_are_folders(make_zip):
    assert ZipStore(make_zip({"a\\b\\1.png": b"x"})).names == ("a/b/1.png",)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.png", b"one")
        archive.writestr("a/1.png", b"two")
    with pytest.raises(DataError, match=r"holds 'a/1.png' twice"):
        ZipStore(path)


def test_encrypted_members_and_other_methods_are_refused(make_zip):
    path = make_zip({"a/1.png": b"x"})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1  # bit 0 of the flags: encrypted
    path.write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        ZipStore(path)
    with pytest.raises(DataError, match="method 14; use deflate"):
        ZipStore(make_zip({"a/1.png": b"x"}, "lzma.zip", zipfile.ZIP_LZMA))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 10])
def test_what_is_no_zip_is_refused(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a zip, or truncated"):
        ZipStore(path)


def test_too_many_members_and_too_large_ones_are_refused(make_zip, monkeypatch):
    path = make_zip({"a/1.png": b"x" * 100, "a/2.png": b"y"})
    monkeypatch.setattr(store, "_MAX_FILE_BYTES", 99)
    with pytest.raises(DataError, match=r"a/1.png unpacks to 100 bytes, 99 are allowed"):
        ZipStore(path)
    monkeypatch.setattr(store, "_MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="2 members, at most 1"):
        ZipStore(path)


def test_a_bomb_is_refused_by_ratio_and_by_total(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(1000))
    refuse_bomb(1 << 30, path)  # up to 1 GiB anything goes
    with pytest.raises(DataError, match="zip bomb"):
        refuse_bomb((1 << 30) + 1, path)
    os.truncate(path, (1 << 31) // 200 + 1)
    refuse_bomb(1 << 31, path)
    with pytest.raises(DataError, match="zip bomb"):
        refuse_bomb((256 << 30) + 1, path)


def test_a_member_that_unpacks_to_more_than_announced_is_unreadable(make_zip):
    path = make_zip({"a/1.png": bytes(100_000)})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 10)  # the announced size
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match="checksum"):
        ZipStore(path).read("a/1.png")


def test_a_changed_byte_is_noticed(make_zip):
    path = make_zip({"a/1.png": b"hello"}, method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"hello", b"hullo"))
    with pytest.raises(UnreadableFileError, match=r"a/1.png: damaged in the zip"):
        ZipStore(path).read("a/1.png")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 60),
)
def test_an_altered_zip_is_a_clean_error_or_the_same_content(make_zip, changes, cut):
    path = make_zip({"a/1.png": b"one" * 50, "b/2.png": b"two"})
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content[: len(content) - cut])
    try:
        zipped = ZipStore(path)
        contents = {name: zipped.read(name) for name in zipped.names}
    except DataError:
        return
    assert set(contents.values()) <= {b"one" * 50, b"two"}


def test_a_folder_lists_visible_images_only(make_folder):
    root = make_folder(
        {"b/1.png": b"", "a/2.JPEG": b"", "a/.hidden.png": b"", ".git/3.png": b"", "a/n.txt": b""}
    )
    assert walk_images(root) == (
        ("a/2.JPEG", "b/1.png"),
        (".git/3.png", "a/.hidden.png", "a/n.txt"),
    )


def test_linked_folders_are_followed_once(make_folder):
    root = make_folder({"data/a/1.png": b"", "view/b/2.png": b""})
    (root / "view" / "a").symlink_to(root / "data" / "a")
    (root / "view" / "a" / "loop").symlink_to(root / "view")
    assert walk_images(root / "view")[0] == ("a/1.png", "b/2.png")


def test_an_unreadable_file_is_named(make_folder, monkeypatch):
    folder = FolderStore(make_folder({"a.png": b"12345"}), ("a.png",))
    assert folder.read("a.png") == b"12345"
    with pytest.raises(UnreadableFileError, match=r"gone.png: cannot be read"):
        folder.read("gone.png")
    monkeypatch.setattr(store, "_MAX_FILE_BYTES", 4)
    with pytest.raises(UnreadableFileError, match="larger than"):
        folder.read("a.png")
