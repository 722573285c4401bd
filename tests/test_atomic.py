import os
import threading
import time

import pytest

from edgekd.atomic import locked_folder, write_atomically
from edgekd.errors import OutputError


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_atomically(path, b"old")

    def full(_descriptor):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="use a folder that can be written"):
        write_atomically(tmp_path / "file" / "state", b"new")


def test_a_locked_folder_is_one_processs_at_a_time(tmp_path):
    done = []

    def work(name):
        with locked_folder(tmp_path / "new"):
            done.append(name)
            time.sleep(0.02)
            done.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done[::2] == done[1::2]  # nobody begins before the other has ended
