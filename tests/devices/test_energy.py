import pytest

from edgekd.devices import energy
from edgekd.devices.energy import find_meter, measure_energy


def write(root, path, text):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


class Clock:
    """Time passes only in calls and sleeps."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(energy.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(energy.time, "sleep", self.wait)

    def wait(self, seconds):
        self.now += seconds


class Meter:
    """2 W while idle; 5 J per call."""

    source = "made up"

    def __init__(self, clock):
        self.clock, self.joules = clock, 0.0

    def start(self):
        self.joules, self.began = 0.0, self.clock.now

    def stop(self):
        return self.joules + 2 * (self.clock.now - self.began)


def test_idle_and_busy_are_told_apart(monkeypatch):
    clock = Clock(monkeypatch)
    meter = Meter(clock)

    def call():
        clock.wait(0.5)
        meter.joules += 5

    found = measure_energy(meter, call, seconds=2, beat=lambda: None)
    # 4 calls of 0.5 s: 5 J each and 2 W x 0.5 s
    assert found == {
        "source": "made up",
        "joules_per_inference": 6.0,
        "idle_watts": 2.0,
        "num_inferences": 4,
    }


def test_counters_of_all_packages_are_added_and_wrap_around(tmp_path):
    for number, start in enumerate((900, 100)):
        folder = f"sys/class/powercap/intel-rapl:{number}"
        write(tmp_path, f"{folder}/max_energy_range_uj", "999\n")
        write(tmp_path, f"{folder}/energy_uj", f"{start}\n")
    write(tmp_path, "sys/class/powercap/intel-rapl:0:0/energy_uj", "5\n")  # inside a package
    meter, _ = find_meter(tmp_path)
    meter.start()
    write(tmp_path, "sys/class/powercap/intel-rapl:0/energy_uj", "150\n")
    write(tmp_path, "sys/class/powercap/intel-rapl:1/energy_uj", "400\n")
    # 900 -> 999 -> 0 -> 150 is 250 microjoules, 100 -> 400 is 300
    assert meter.stop() == pytest.approx(550e-6)


def test_a_counter_that_cannot_be_read_says_so(tmp_path, monkeypatch):
    write(tmp_path, "sys/class/powercap/intel-rapl:0/energy_uj", "1")
    meter, why = find_meter(tmp_path)  # no range beside it: as unreadable as one without rights
    assert meter is None
    assert why.startswith("RAPL is there but cannot be read")


def test_a_machine_without_any_source_says_where_it_looked(tmp_path):
    assert find_meter(tmp_path) == (
        None,
        "no INA sensor in /sys/class/hwmon, no vcgencmd pmic_read_adc, no RAPL",
    )


def test_an_ina_sensor_is_preferred_and_read_in_watts(tmp_path):
    write(tmp_path, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/name", "ina3221\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/in1_input", "5000\n")  # mV
    write(tmp_path, "sys/class/hwmon/hwmon1/curr1_input", "600\n")  # mA
    meter, _ = find_meter(tmp_path)
    assert meter.source == "hwmon ina3221, channel 1"
    assert meter._watts() == 3.0
    write(tmp_path, "sys/class/hwmon/hwmon1/power1_input", "2500000\n")  # microwatts
    assert find_meter(tmp_path)[0]._watts() == 2.5


def test_a_gauge_is_its_mean_power_times_the_time(monkeypatch):
    clock = Clock(monkeypatch)
    meter = energy._Gauge("x", lambda: 3.0)
    meter.start()
    clock.wait(2.0)
    assert meter.stop() == 6.0


def test_rails_of_the_power_chip_are_added():
    text = """\
     3V7_WL_SW_A current(0)=0.50000000A
        VDD_CORE_A current(7)=2.00000000A
     3V7_WL_SW_V volt(8)=4.00000000V
        VDD_CORE_V volt(15)=0.75000000V
         EXT5V_V volt(24)=5.10000000V
          BATT_V volt(25)=broken
    """
    assert energy._rail_watts(text) == 0.5 * 4.0 + 2.0 * 0.75
    assert energy._rail_watts("error=1 unknown command") is None
