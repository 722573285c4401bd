import pytest
from boards import sha256

from edgekd.devices import courier as module
from edgekd.devices.courier import Courier


class Board:
    """What a session says to a board."""

    def __init__(self):
        self.names, self.put_names, self.dropped = set(), [], []

    def ask(self, op, *, names):
        if op == "have":
            return {"names": [name for name in names if name in self.names]}
        assert op == "drop"
        self.dropped += names
        return {}

    def put(self, name, path, *, passing=False):
        assert name == f"{sha256(path.read_bytes())}{path.suffix}"
        self.put_names.append((name, passing))
        if not passing:
            self.names.add(name)

    def put_bytes(self, name, content):
        self.put_names.append((name, False))
        self.names.add(name)


@pytest.fixture
def files(tmp_path):
    """Three files of ten bytes."""
    paths = [tmp_path / f"{letter}.onnx" for letter in "abc"]
    for path in paths:
        path.write_bytes(path.stem.encode() * 10)
    return paths


def name_of(path):
    return f"{sha256(path.read_bytes())}.onnx"


def test_what_stays_travels_once_and_not_at_all_where_it_is(files):
    board = Board()
    board.names.add(name_of(files[1]))
    courier = Courier(board, "/home/pi/edgekd")
    for _ in range(2):
        there = [courier.send(path, "onnx") for path in files[:2]]
        assert there == [f"/home/pi/edgekd/objects/{name_of(path)}" for path in files[:2]]
    assert board.put_names == [(name_of(files[0]), False)]
    assert courier.send_bytes(files[0].read_bytes(), "onnx") == name_of(files[0])
    assert len(board.put_names) == 1


def test_what_is_lent_travels_once_under_any_path(files, tmp_path):
    board = Board()
    courier = Courier(board, "/f")
    twin = tmp_path / "twin.onnx"
    twin.write_bytes(files[0].read_bytes())
    there = courier.lend([*files, twin], "onnx")
    assert there == [f"/f/passing/{name_of(path)}" for path in (*files, files[0])]
    courier.lend(files, "onnx")
    assert board.put_names == [(name_of(path), True) for path in files]
    assert board.dropped == []


def test_what_was_not_asked_for_the_longest_makes_room(files, monkeypatch):
    monkeypatch.setattr(module, "_MOST_LENT_BYTES", 20)
    board = Board()
    courier = Courier(board, "/f")
    a, b, c = files
    courier.lend([a, b], "onnx")
    courier.lend([a], "onnx")
    courier.lend([c], "onnx")  # 30 bytes: b is the oldest
    assert board.dropped == [name_of(b)]
    courier.lend([a, b, c], "onnx")  # more than there should be, but all are wanted
    assert board.put_names[-1] == (name_of(b), True)
    assert board.dropped == [name_of(b)]
