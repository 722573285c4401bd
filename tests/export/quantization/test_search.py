"""The search against a made-up device, whose times follow from the choices alone."""

from dataclasses import dataclass, field

import pytest

from edgekd.console import SilentConsole
from edgekd.errors import ExportError
from edgekd.export.quantization.candidates import Candidate
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.moves import starting_points
from edgekd.export.quantization.search import Budget, Search
from edgekd.export.quantization.units import Unit, prefer

FP32_NS = 1000


def units():
    """Four blocks of a convolution, a gate that is slow in int8, and a sum."""
    found = []
    for block in range(4):
        found += [
            Unit(name=f"conv{block}", kind="Conv", choices=("static", "weights")),
            Unit(name=f"gate{block}", kind="HARD_SWISH", choices=("static", "float")),
            Unit(name=f"sum{block}", kind="ADD", choices=("static", "float")),
        ]
    return tuple(found)


@dataclass
class FakeBench:
    """A workbench whose candidates carry their time in their file name."""

    folder: object
    time_of: object
    sqnr_of: object
    extra_bytes: object = lambda choices: 0
    quantizer: object = None
    clock: object = field(default_factory=Clock)
    _made: dict = field(default_factory=dict)

    def __post_init__(self):
        self.quantizer = type("Quantizer", (), {"units": units(), "format": "onnx"})

    @property
    def made(self):
        return tuple(self._made.values())

    def make(self, choices, label):
        key = tuple(choices[unit.name] for unit in units())
        if key not in self._made:
            time = self.time_of(choices)
            path = None if time is None else self.folder / f"{len(self._made)}_{time}.onnx"
            if path is not None:
                path.write_bytes(b"x" * (10 + self.extra_bytes(choices)))
            fault = None if path is not None else "the tool chain says no"
            self._made[key] = Candidate(label=label, choices=dict(choices), path=path, fault=fault)
        return self._made[key]

    def is_measured(self, candidate):
        return True

    def sqnr_db(self, candidate):
        return self.sqnr_of(candidate.choices)


def fake_race(files, *, num_threads, seconds):
    times = [FP32_NS if f.name == "fp32.onnx" else int(f.stem.split("_")[1]) for f in files]
    # the machine slows down from round to round: only ratios mean anything
    return tuple(tuple(time * slow for slow in (1, 2, 5, 3, 9)) for time in times)


def found(
    tmp_path,
    time_of,
    sqnr_of=lambda choices: 40.0,
    accept=lambda path: True,
    clock=None,
    extra_bytes=lambda choices: 0,
    fp32_bytes=100,
    reserved_bytes=0,
):
    (tmp_path / "fp32.onnx").write_bytes(b"x" * fp32_bytes)
    with SilentConsole().track("", total=1) as progress:
        return Search(
            FakeBench(tmp_path, time_of, sqnr_of, extra_bytes, clock=clock or Clock()),
            tmp_path / "fp32.onnx",
            race=fake_race,
            budget=Budget(min_sqnr_db=20.0, num_threads=1, reserved_bytes=reserved_bytes),
            accept=accept,
            progress=progress,
        ).run()


def usual_time(choices):
    """int8 convolutions save, int8 gates cost, a sum saves where its convolution is int8."""
    time = FP32_NS
    for block in range(4):
        conv, gate, total = (choices[f"{n}{block}"] == "static" for n in ("conv", "gate", "sum"))
        time -= 150 if conv else 0
        time += 300 if gate else 0
        time -= 20 if conv and total else 0
    return time


def test_it_finds_the_best_mixture(tmp_path):
    result = found(tmp_path, usual_time)
    best = {u.name: "float" if "gate" in u.name else "static" for u in units()}
    assert result.candidate.choices == best
    assert result.speedup == pytest.approx(FP32_NS / (FP32_NS - 4 * 170))
    assert result.fallback is None


def test_one_slow_stretch_is_left_in_float(tmp_path):
    def time_of(choices):
        return usual_time(choices) + (400 if choices["conv0"] == "static" else 0)

    choices = found(tmp_path, time_of).candidate.choices
    assert choices["conv0"] == "weights"
    assert [choices[f"conv{i}"] for i in (1, 2, 3)] == ["static"] * 3


def test_the_error_budget_is_kept_at_the_cost_of_time(tmp_path):
    def sqnr_of(choices):  # each sum in int8 costs 6 dB
        return 40.0 - 6.0 * sum(choices[f"sum{i}"] == "static" for i in range(4))

    result = found(tmp_path, usual_time, sqnr_of)
    assert sqnr_of(result.candidate.choices) >= 20.0
    assert result.sensitivity[0].sqnr_db <= result.sensitivity[-1].sqnr_db  # worst first
    assert sum(result.candidate.choices[f"conv{i}"] == "static" for i in range(4)) == 4


def test_where_nothing_is_faster_the_weights_alone_are_int8_and_the_reason_is_said(tmp_path):
    result = found(
        tmp_path, lambda choices: FP32_NS + 10 * sum(c == "static" for c in choices.values())
    )
    assert result.candidate.choices == prefer(units())
    assert result.speedup == 1.0
    assert result.fallback == "nothing within the error budget was measured to be faster than fp32"


def test_where_time_was_up_before_anything_was_faster_that_is_the_reason(tmp_path):
    result = found(
        tmp_path,
        lambda choices: FP32_NS + 10 * sum(c == "static" for c in choices.values()),
        clock=Clock(seconds=0.0),
    )
    assert result.fallback.endswith("candidates, when --search-seconds ended the search")


def test_what_the_task_refuses_is_not_taken(tmp_path):
    refused = []

    def accept(path):
        refused.append(path)
        return False

    result = found(tmp_path, usual_time, accept=accept)
    assert refused
    assert result.fallback is not None


def test_candidates_that_cannot_run_are_passed_over(tmp_path):
    def time_of(choices):
        return None if choices["sum0"] == "static" else usual_time(choices)

    result = found(tmp_path, time_of)
    assert result.candidate.choices["sum0"] == "float"
    assert result.candidate.choices["conv0"] == "static"


def test_where_the_weights_alone_cannot_be_stored_another_start_is_the_safest(tmp_path):
    stored = prefer(units())
    result = found(tmp_path, lambda c: None if c == stored else usual_time(c))
    assert result.candidate.path is not None
    assert result.speedup == pytest.approx(FP32_NS / (FP32_NS - 4 * 170))


def test_where_the_only_file_to_take_cannot_be_written_the_reason_is_said(tmp_path):
    stored = prefer(units())
    with pytest.raises(ExportError, match=r"faster than fp32, and its weights .* says no"):
        found(tmp_path, lambda c: None if c == stored else FP32_NS + 100)


def test_where_no_start_can_be_written_that_is_an_error(tmp_path):
    with pytest.raises(ExportError, match=r"no int8 form of fp32\.onnx .* the tool chain says no"):
        found(tmp_path, lambda choices: None)


def test_once_the_time_is_up_one_more_file_is_judged(tmp_path):
    hand, judged = Hand(), []

    def accept(path):  # an hour on all held-out samples
        judged.append(path)
        hand.seconds += 3600.0
        return False

    result = found(tmp_path, usual_time, accept=accept, clock=Clock(seconds=20.0, now=hand))
    assert len(judged) == 2  # the first in time, the second late
    assert result.candidate.choices == prefer(units())
    assert "--search-seconds left no time to judge more files" in result.fallback


def test_without_time_the_starting_points_still_compete(tmp_path):
    result = found(tmp_path, usual_time, clock=Clock(seconds=0.0))
    assert result.fallback is None
    starts = [choices for _, choices in starting_points(units(), prefer(units()))]
    assert result.candidate.choices in starts


class Hand:
    """The time, as it is set."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def test_nothing_new_is_tried_after_its_share_of_the_time(tmp_path):
    hand, written = Hand(), []

    def time_of(choices):  # asked once per file that is written, which takes a second
        hand.seconds += 1.0
        written.append(choices)
        return usual_time(choices)

    result = found(tmp_path, time_of, clock=Clock(seconds=20.0, now=hand))
    assert len(written) == 16  # 80 % of 20 s
    assert result.fallback is None


def test_a_file_that_is_hardly_smaller_is_not_taken(tmp_path):
    result = found(
        tmp_path, usual_time, extra_bytes=lambda c: 100_000 if c["conv0"] == "static" else 0
    )
    assert result.candidate.choices["conv0"] == "weights"


def test_the_limit_of_a_large_file_is_one_although_storage_alone_gives_about_as_much(tmp_path):
    def extra_bytes(choices):  # of 2 MB: 0.375 as stored, 0.425 with one convolution in int8
        return 850_000 if choices["conv0"] == "static" else 750_000

    result = found(tmp_path, usual_time, extra_bytes=extra_bytes, fp32_bytes=2_000_000)
    assert result.candidate.choices["conv0"] == "weights"
    assert result.fallback is None


def test_where_the_graph_alone_is_too_much_a_file_may_be_about_as_large_as_storage_gives(tmp_path):
    def extra_bytes(choices):  # of 500 kB, 281 kB allowed: 0.6 as stored
        return 1_000_000 if choices["conv1"] == "static" else 300_000

    result = found(tmp_path, usual_time, extra_bytes=extra_bytes, fp32_bytes=500_000)
    assert result.candidate.choices["conv1"] == "weights"
    assert "static" in result.candidate.choices.values()


@pytest.mark.parametrize(("reserved", "is_taken"), [(0, True), (11_000, True), (13_000, False)])
def test_a_file_leaves_room_for_what_is_put_into_it_later(tmp_path, reserved, is_taken):
    def extra_bytes(choices):  # of 2 MB: 0.39 with anything in int8; at most 0.396 is allowed
        return 780_000 if "static" in choices.values() else 600_000

    result = found(
        tmp_path,
        usual_time,
        extra_bytes=extra_bytes,
        fp32_bytes=2_000_000,
        reserved_bytes=reserved,
    )
    assert (result.fallback is None) == is_taken
