import shutil

from edgekd.records import MachineState
from edgekd.report.caveats import caveat_section, find_caveats, put_together
from edgekd.report.collect import collect


def _caveats(root):
    return tuple(caveat.sentence for caveat in find_caveats(collect([root])))


def test_a_quiet_complete_run_has_no_caveat(make, tmp_path):
    assert _caveats(make.write_runs(tmp_path)) == ()


def test_what_has_not_finished_or_is_elsewhere_is_told(make, tmp_path):
    make.write_runs(tmp_path)
    (tmp_path / "teacher" / "bundle.json").rename(tmp_path / "teacher" / "checkpoint.safetensors")
    assert _caveats(tmp_path) == (
        "source of teacher-exported/student.onnx: its bundle is not here, so its own metric and "
        "cost are missing",
        "teacher: its training has not finished; --resume goes on with it",
    )
    for name in ("student.onnx.json", "measurements.jsonl"):
        (tmp_path / "teacher-exported" / name).unlink()
    shutil.copytree(tmp_path / "teacher", tmp_path / "other")
    assert put_together(find_caveats(collect([tmp_path])))[-1] == (
        "other and 1 more: their trainings have not finished; --resume goes on with them"
    )
    assert _caveats(tmp_path)[0] == (
        "runs/teacher: the weights that taught are not here (elsewhere, or replaced by a later "
        "run), so the teacher has no metric"
    )


def test_what_is_shown_under_another_name_is_told(make, tmp_path):
    make.write_runs(tmp_path)
    for folder in ("exported", "student"):
        shutil.copytree(tmp_path / folder, tmp_path / f"{folder}-2")
    (tmp_path / "exported-2" / "measurements.jsonl").unlink()
    for name in ("student.int8.onnx.json", "student.int8.tflite.json", "student.tflite.json"):
        (tmp_path / "exported-2" / name).unlink()
    assert _caveats(tmp_path) == (
        "student-2: equal to student in every bit, which alone is shown",
        "exported-2/student.onnx: equal to exported/student.onnx in every bit, which alone is "
        "shown",
    )


def test_a_spread_above_ten_per_cent_is_told(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(
        tmp_path,
        # quartiles of 100, 101, ..., 200 are 125, 150, 175: the spread is 50 / 150
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, latencies_ns=tuple(range(100, 201))
        ),
    )
    (sentence,) = _caveats(tmp_path)
    assert sentence.startswith("m.onnx (local, 1 thread): IQR/median of the latencies is 33 %")


def test_more_threads_than_cores_are_named_as_the_cause_of_a_spread(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    noisy = make.measurement(  # on 2 cores
        "m.onnx", sha256="1" * 64, p50_ms=1.0, latencies_ns=tuple(range(100, 201)), num_threads=4
    )
    make.write_measurements(tmp_path, noisy)
    (sentence,) = _caveats(tmp_path)
    assert sentence == (
        "m.onnx (local, 4 threads): IQR/median of the latencies is 33 %, above 10 %: more threads "
        "than cores are the likely cause; measure with fewer"
    )


def test_int8_slower_than_fp32_is_told(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(
        tmp_path,
        make.measurement("m.tflite", sha256="1" * 64, p50_ms=0.9),
        make.measurement("m.int8.tflite", sha256="2" * 64, p50_ms=3.05),
        make.measurement("m.int8.onnx", sha256="3" * 64, p50_ms=9.0),  # no fp32 file to compare
    )
    (sentence,) = _caveats(tmp_path)
    assert sentence == (
        "m.int8.tflite (local, 1 thread): int8 is slower than fp32 (3.05 ms against 0.9 ms): "
        "here it saves space, not time"
    )


def test_emulation_is_told_once_and_its_timings_are_not_judged(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    emulated = {"device": "qemu", "device_info": make.device(arch="aarch64", emulated=True)}
    make.write_measurements(
        tmp_path,
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, latencies_ns=tuple(range(100, 201)), **emulated
        ),
        make.measurement("m.int8.onnx", sha256="2" * 64, p50_ms=9.0, **emulated),
    )
    (sentence,) = _caveats(tmp_path)
    assert sentence.startswith("qemu: it is emulated: its latencies mean nothing")


def test_skipped_files_and_uncounted_operators_are_told(make, tmp_path):
    data = make.provenance().data.model_copy(update={"skipped_files": 3})
    bundle = make.bundle(
        origin=make.provenance(data=data), uncounted_operators=("aten::fft", "aten::sort")
    )
    make.write(tmp_path / "student", "bundle.json", bundle)
    audit = make.exported("m.onnx", sha256="1" * 64).audit
    record = make.exported(
        "m.onnx",
        sha256="1" * 64,
        audit=audit.model_copy(update={"uncounted_operators": ("Custom",)}),
    )
    make.write(tmp_path, "m.onnx.json", record)
    assert _caveats(tmp_path) == (
        "student: 3 unreadable file(s) of builtin:digits skipped",
        "student: MACs leave out operators that could not be counted (aten::fft, aten::sort)",
        "m.onnx: its int8 share leaves out uncounted operators (Custom)",
    )


def test_what_training_found_is_told(make, tmp_path):
    bundle = make.bundle(notes=("ended at 0.4 of its MACs",))
    make.write(tmp_path / "student", "bundle.json", bundle)
    assert _caveats(tmp_path) == ("student: ended at 0.4 of its MACs",)


def test_a_missing_bundle_is_told(make, tmp_path):
    make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    (sentence,) = _caveats(tmp_path)
    assert sentence.startswith("source of m.onnx: its bundle is not here")


def test_a_device_that_was_not_at_its_best_is_told(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    state = MachineState(
        governor="ondemand", frequency_mhz=600.0, temperature_c=82.0, throttled="throttled now",
        load_average=0.1,
    )  # fmt: skip
    hot = make.measurement(
        "m.onnx", sha256="1" * 64, p50_ms=1.0, before=state, after=state, other_load=1.04
    )
    make.write_measurements(tmp_path, hot)
    assert _caveats(tmp_path) == (
        "m.onnx (local, 1 thread): it is throttled (throttled now): look at its supply and its "
        "cooling",
        "m.onnx (local, 1 thread): its governor is ondemand, not performance",
        "m.onnx (local, 1 thread): other work kept 1.0 cores busy; measure again",
    )


def test_a_metric_of_other_data_is_told(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    data = make.provenance().data.model_copy(
        update={"source": "other.zip", "fingerprint": "9" * 64}
    )
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.5), data=data),
    )
    assert _caveats(tmp_path) == (
        "m.onnx (local, 1 thread): its metric is of other.zip (fingerprint 999999999999), not "
        "of the data and split it was trained with",
    )


def test_doubts_of_a_kind_are_one_sentence_with_a_count_and_the_first_name(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle(notes=("ended at 0.4 of its MACs",)))
    other = make.provenance().data.model_copy(update={"fingerprint": "9" * 64})

    def measure(number, spread):
        # of 100 calls the 25th and the 75th are so far apart
        low, high = round(1000 * (1 - spread / 2)), round(1000 * (1 + spread / 2))
        return make.measurement(
            f"{number}.onnx", sha256=str(number) * 64, p50_ms=1.0,
            latencies_ns=(low,) * 30 + (1000,) * 40 + (high,) * 30,
            metric=make.top1(0.1), data=other.model_copy(update={"source": f"{number}.zip"}),
        )  # fmt: skip

    make.write_measurements(tmp_path, measure(1, 0.2), measure(2, 0.3), measure(3, 0.0))
    found = find_caveats(collect([tmp_path]))
    assert [sentence.replace(tmp_path.name, "student") for sentence in put_together(found)] == [
        "student: ended at 0.4 of its MACs",
        "1.onnx (local, 1 thread) and 1 more: IQR/median of the latencies is above 10 %: the "
        "machine was not quiet; measure again",
        "1.onnx (local, 1 thread) and 2 more: the metric is of other data, not of the data and "
        "split it was trained with",
    ]
    (listing,) = caveat_section(found).listings
    assert len(listing.lines) == 6
    assert "latencies is 30 %, above 10 %" in listing.lines[3]


def test_where_every_doubt_is_of_its_own_kind_they_are_not_listed_again(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle(notes=("one", "other")))
    found = find_caveats(collect([tmp_path]))
    assert put_together(found) == tuple(caveat.sentence for caveat in found)
    assert caveat_section(found) is None
