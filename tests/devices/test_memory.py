import numpy as np
import pytest

from edgekd.devices import memory
from edgekd.devices.memory import peak_resident_bytes, reset_peak, resident_bytes
from edgekd.errors import DeviceError

MIB = 1 << 20


def test_the_peak_remembers_what_was_given_back_until_it_is_reset():
    before = resident_bytes()
    np.ones(64 * MIB, dtype=np.uint8)
    assert peak_resident_bytes() - before >= 60 * MIB
    assert reset_peak()
    assert peak_resident_bytes() - resident_bytes() < 8 * MIB


def test_a_kernel_that_does_not_permit_the_reset_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    assert not reset_peak()


def test_without_proc_there_is_no_number(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    with pytest.raises(DeviceError, match="needs Linux"):
        resident_bytes()
    (tmp_path / "status").write_text("Name:\tx\n")
    with pytest.raises(DeviceError, match="has no VmRSS"):
        resident_bytes()
