import pytest

from edgekd.report.collect import collect


@pytest.fixture
def measured(make, tmp_path):
    """What is shown of a file with these measurements: (value, day, data) and changes to each."""
    own = make.provenance().data
    sets = {
        "own": own,
        "other": own.model_copy(update={"source": "other.zip", "fingerprint": "9" * 64}),
        "unknown": None,
    }

    def measure(value, day, data, **changes):
        return make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=float(day), metric=make.top1(value),
            data=sets[data], created=f"2026-11-0{day}T10:00:00+00:00", **changes,
        )  # fmt: skip

    def shown(*given, origin=None, **record):
        make.write(tmp_path, "bundle.json", make.bundle(origin=origin))
        make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64, **record))
        lines = [measure(*some[:3], **(some[3] if some[3:] else {})) for some in given]
        make.write_measurements(tmp_path, *lines)
        return collect([tmp_path]).networks[0].files[0].measured

    return shown


def _told(entry):
    return entry.metric and entry.metric.value, entry.other_data and entry.other_data.source


def test_a_metric_of_the_trainings_data_is_preferred_to_a_later_one(measured):
    (entry,) = measured((0.98, 1, "own"), (0.97, 2, "own"), (0.5, 3, "unknown"), (0.1, 4, "other"))
    assert _told(entry) == (0.97, None)
    assert entry.p50_ms == pytest.approx(4.0)  # a time does not depend on the data
    assert (entry.num_older, entry.num_other_metrics) == (3, 1)


def test_unknown_data_are_preferred_to_other_ones(measured):
    (entry,) = measured((0.5, 1, "unknown"), (0.1, 2, "other"))
    assert _told(entry) == (0.5, None)


def test_the_latest_metric_of_other_data_is_shown_where_there_is_none_else(measured):
    (entry,) = measured((0.1, 1, "other"), (0.2, 2, "other"))
    assert _told(entry) == (0.2, "other.zip")


def test_a_metric_of_another_setting_displaces_one_of_other_data(measured):
    missing = {"missing": ("gyro",)}
    one, without, two = measured(
        (0.1, 2, "other"), (0.9, 1, "own", {"num_threads": 2}), (0.2, 2, "other", missing)
    )
    assert (_told(one), _told(two)) == ((None, None), (0.9, None))
    assert _told(without) == (0.2, "other.zip")  # of fewer inputs there is no other


@pytest.mark.parametrize(
    ("notes", "told"),
    [
        ((), (None, None)),
        (("judged on other data than the student was trained on",), (0.1, "other.zip")),
    ],
)
def test_the_metric_of_the_files_record_displaces_one_of_other_data(measured, make, notes, told):
    value = make.top1(0.9, split="val")
    (entry,) = measured((0.1, 1, "other"), metrics=(value,), notes=notes)
    assert _told(entry) == told


def test_where_the_training_does_not_know_its_data_the_latest_metric_is_shown(measured, make):
    data = make.provenance().data.model_copy(update={"fingerprint": ""})
    (entry,) = measured((0.9, 1, "own"), (0.1, 2, "other"), origin=make.provenance(data=data))
    assert _told(entry) == (0.1, None)
