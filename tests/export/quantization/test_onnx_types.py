from pathlib import Path

import numpy as np
import pytest

from edgekd.export.quantization import onnx_types
from edgekd.export.quantization.onnx_types import TYPES, this_processor


@pytest.mark.parametrize(
    ("machine", "flags", "processor", "signed", "weight_bits"),
    [
        ("aarch64", "", "arm", True, 8),
        ("x86_64", "flags: avx2 avx512_vnni", "x86-vnni", False, 8),
        ("x86_64", "flags: avx2 avx_vnni", "x86-vnni", False, 8),
        ("x86_64", "flags: avx2", "x86", False, 7),
    ],
)
def test_types_follow_the_processor(monkeypatch, machine, flags, processor, signed, weight_bits):
    monkeypatch.setattr(onnx_types.platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda self: flags)
    assert this_processor() == processor
    types = TYPES[processor]
    assert (types.signed, types.weight_bits) == (signed, weight_bits)


@pytest.mark.parametrize(
    ("limits", "scale", "zero"),
    [
        ((0.0, 255.0), 1.0, 0),
        ((-128.0, 127.0), 1.0, 128),
        ((1.0, 255.0), 1.0, 0),  # widened to hold 0
        ((-255.0, -3.0), 1.0, 255),
        ((0.0, 0.0), 1e-8, 0),  # a tensor that is always 0 still has a scale
    ],
)
def test_scale_and_zero_point_of_a_range(limits, scale, zero):
    found = TYPES["x86"].activation(limits)
    assert (float(found[0]), int(found[1])) == (pytest.approx(scale), zero)
    signed = TYPES["arm"].activation(limits)
    assert (int(signed[1]), signed[1].dtype) == (zero - 128, np.int8)
