import io
import struct

import numpy as np
import pytest

from edgekd.teachers.keras_worker import read_frame, write_frame


def test_a_frame_by_hand() -> None:
    pipe = io.BytesIO()
    write_frame(pipe, {"a": 1}, b"xyz")
    assert pipe.getvalue() == b'\x08\0\0\0{"a": 1}' + b"\x03" + b"\0" * 7 + b"xyz"


def test_frames_come_back_in_order() -> None:
    pipe = io.BytesIO()
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    write_frame(pipe, {"shape": values.shape}, values.tobytes())
    write_frame(pipe, {"error": "no"})
    pipe.seek(0)
    header, payload = read_frame(pipe) or ({}, b"")
    assert np.array_equal(np.frombuffer(payload, "<f4").reshape(header["shape"]), values)
    assert read_frame(pipe) == ({"error": "no"}, b"")
    assert read_frame(pipe) is None


@pytest.mark.parametrize("cut", [1, 5, 14, 22])
def test_a_frame_cut_short_is_an_end(cut: int) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, {"a": 1}, b"xyz")
    assert read_frame(io.BytesIO(pipe.getvalue()[:cut])) is None


def test_noise_on_the_pipe_is_an_end_and_not_a_huge_allocation() -> None:
    assert read_frame(io.BytesIO(b"WARNING: something")) is None
    assert read_frame(io.BytesIO(struct.pack("<I", 1 << 21))) is None


def test_no_pipe() -> None:
    assert read_frame(None) is None
    with pytest.raises(OSError, match="no pipe"):
        write_frame(None, {})
