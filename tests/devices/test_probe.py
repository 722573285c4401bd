import os
import platform

import pytest

from edgekd.devices.probe import busy_seconds, cpu_flags, probe, state


def write(root, path, text):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def test_a_raspberry_pi_is_described_from_its_files(tmp_path):
    write(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    write(tmp_path, "proc/cpuinfo", "processor : 0\nBogoMIPS : 108.00\n\nModel : Raspberry Pi 5\n")
    write(tmp_path, "proc/meminfo", "MemTotal:  8000 kB\nMemFree: 1 kB\n")
    cpu = "sys/devices/system/cpu/cpu0/cpufreq"
    write(tmp_path, f"{cpu}/scaling_governor", "ondemand\n")
    write(tmp_path, f"{cpu}/scaling_cur_freq", "2400000\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "51250\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "60000\n")
    write(tmp_path, "sys/devices/platform/soc/soc:firmware/get_throttled", "50004\n")
    found = probe(tmp_path)
    assert found["board"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert found["cpu"] == "Raspberry Pi 5"
    assert found["memory_bytes"] == 8000 * 1024
    assert found["governor"] == "ondemand"
    assert found["frequency_mhz"] == 2400
    assert found["temperature_c"] == 60
    # 0x50004: bits 2, 16 and 18
    assert found["throttled"] == "throttled now, under-voltage since boot, throttled since boot"


def test_what_cannot_be_read_is_unknown(tmp_path):
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "broken\n")
    found = probe(tmp_path)
    unknown = ("board", "cpu", "memory_bytes", "governor", "frequency_mhz", "temperature_c")
    assert [found[key] for key in (*unknown, "throttled")] == [None] * 7
    assert found["arch"] == platform.machine()
    assert found["cpu_count"] == len(os.sched_getaffinity(0))


def test_a_pc_has_its_own_sources(tmp_path):
    write(tmp_path, "proc/cpuinfo", "vendor_id : X\nmodel name : Some CPU\ncpu MHz : 2596.120\n")
    write(tmp_path, "sys/class/dmi/id/sys_vendor", "ACME\n")
    write(tmp_path, "sys/class/dmi/id/product_name", "Box 9\n")
    counter = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    write(tmp_path, counter, "7\n")
    found = probe(tmp_path)
    assert (found["board"], found["cpu"], found["frequency_mhz"]) == (
        "ACME Box 9",
        "Some CPU",
        2596.12,
    )
    assert found["throttled"] == "7 times since boot"


@pytest.mark.parametrize(("arch", "emulated"), [("aarch64", True), ("x86_64", False)])
def test_an_arm_system_with_an_x86_cpuinfo_is_emulated(tmp_path, monkeypatch, arch, emulated):
    write(tmp_path, "proc/cpuinfo", "vendor_id : AuthenticAMD\nmodel name : AMD EPYC\n")
    monkeypatch.setattr(platform, "machine", lambda: arch)
    assert probe(tmp_path)["emulated"] is emulated


@pytest.mark.parametrize(("kernel", "emulated"), [("x86_64", True), ("aarch64", False)])
def test_a_kernel_of_another_family_is_an_emulation(tmp_path, monkeypatch, kernel, emulated):
    write(tmp_path, "proc/cpuinfo", "CPU implementer : 0x41\n")  # newer QEMU writes an Arm one
    write(tmp_path, "proc/sys/kernel/arch", f"{kernel}\n")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert probe(tmp_path)["emulated"] is emulated


def test_what_is_unknown_has_its_reason_and_nothing_else_has(tmp_path):
    write(tmp_path, "proc/meminfo", "MemTotal:  8000 kB\n")
    found = probe(tmp_path)
    assert found["unknown"]["governor"] == "no cpufreq of cpu0 in /sys"
    assert found["unknown"].keys() == {key for key, value in found.items() if value is None}


def test_a_state_is_the_part_of_a_description_that_changes(tmp_path):
    write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    assert state(tmp_path)["governor"] == "performance"
    assert state(tmp_path).keys() <= probe(tmp_path).keys()


@pytest.mark.parametrize("key", ["flags", "Features"])
def test_what_the_processor_can_do_is_told_by_x86_and_by_arm(tmp_path, key):
    write(
        tmp_path, "proc/cpuinfo", f"processor : 0\n{key}\t: fp asimd\n\nprocessor : 1\n{key} : fp\n"
    )
    assert cpu_flags(tmp_path) == ["asimd", "fp"]
    assert cpu_flags(tmp_path / "none") == []


def test_work_of_all_cores_leaves_out_idling_and_waiting(tmp_path):
    # user nice system idle iowait irq softirq steal guest, in ticks
    write(tmp_path, "proc/stat", "cpu  100 20 30 4000 500 6 7 800 9 0\ncpu0 1 2 3\n")
    assert busy_seconds(tmp_path) == 163 / os.sysconf("SC_CLK_TCK")
    assert busy_seconds(tmp_path / "none") is None
