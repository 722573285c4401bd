import numpy as np
import pytest

from edgekd.export.quantization import onnx_types
from edgekd.export.quantization.onnx_types import TYPES, processor_of, this_processor


@pytest.mark.parametrize(
    ("arch", "flags", "processor", "signed", "weight_bits"),
    [
        ("aarch64", [], "arm", True, 8),
        ("arm64", ["asimddp"], "arm", True, 8),
        ("x86_64", ["avx2", "avx512_vnni"], "x86-vnni", False, 8),
        ("x86_64", ["avx2", "avx_vnni"], "x86-vnni", False, 8),
        ("x86_64", ["avx2"], "x86", False, 7),
    ],
)
def test_types_follow_the_processor(arch, flags, processor, signed, weight_bits):
    assert processor_of(arch, flags) == processor
    types = TYPES[processor]
    assert (types.signed, types.weight_bits) == (signed, weight_bits)


def test_this_machine_is_asked_like_any_other(monkeypatch):
    monkeypatch.setattr(onnx_types.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(onnx_types, "cpu_flags", lambda: ["avx_vnni"])
    assert this_processor() == "x86-vnni"


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
