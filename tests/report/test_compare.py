import pytest

from edgekd.records import OTHER_DATA
from edgekd.report.collect import collect
from edgekd.report.compare import best_metric, drop_between, rows


def _rows(root):
    return [row for group in collect([root]).groups for row in rows(group)]


def test_each_teacher_student_and_file_has_a_row_in_order(make, tmp_path):
    shown = [
        (row.role, row.depth, row.name, row.detail) for row in _rows(make.write_runs(tmp_path))
    ]
    assert shown == [
        ("teacher", 0, "teacher", "teacher, resnet20"),
        ("file", 1, "teacher-exported/student.onnx", "fp32"),
        ("student", 1, "student", "student, resnet8, kd"),
        ("file", 2, "exported/student.onnx", "fp32"),
        ("file", 2, "exported/student.int8.onnx", "int8-static"),
        ("file", 2, "exported/student.tflite", "fp32"),
        ("file", 2, "exported/student.int8.tflite", "int8-static"),
    ]


def test_drops_and_speedups_of_the_worked_example(make, tmp_path):
    _, teacher_file, student, *files = _rows(make.write_runs(tmp_path))
    # 0.97 - 0.95; the files against the student's 0.95 on the same 200 test samples
    assert (student.drop.value, student.drop.against) == (pytest.approx(0.02), "teacher")
    assert [row.drop.value for row in files] == pytest.approx([0, 0.005, 0, -0.005])
    # the teacher's onnx file takes 1.6 ms and it has no tflite file
    assert [row.speedup.ratio for row in files] == pytest.approx([4, 8, 3.2, 16])
    assert [row.speedup.over for row in files] == ["", "", "teacher onnx", "teacher onnx"]
    assert teacher_file.speedup.ratio == 1


def test_the_test_split_is_shown_before_val_before_train(make):
    metrics = [make.top1(0.1, split=split) for split in ("train", "val", "test")]
    assert best_metric(metrics) is metrics[2]
    assert best_metric(metrics[:2]) is metrics[1]
    assert best_metric([]) is None


@pytest.mark.parametrize("other", [{"split": "val"}, {"num_samples": 201}])
def test_metrics_of_other_samples_are_not_compared(other, make):
    assert drop_between([make.top1(0.9, **other)], make.top1(0.8)) is None
    assert drop_between([make.top1(0.9)], None) is None
    assert drop_between([make.top1(0.9, **other), make.top1(0.9)], make.top1(0.8)) == (
        pytest.approx(0.1)
    )


def test_without_a_common_metric_the_drop_is_the_one_parity_measured(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write(tmp_path, "m.int8.onnx.json", make.exported("m.int8.onnx", sha256="2" * 64))
    row = _rows(tmp_path)[1]
    assert (row.drop.value, row.drop.against) == (0.004, "parity, val, n = 269")
    assert row.metric is None


def test_without_its_bundle_a_file_is_compared_with_the_fp32_file(make, tmp_path):
    for file, digit, value in (("m.onnx", "1", 0.95), ("m.int8.onnx", "2", 0.93)):
        make.write(tmp_path, f"{file}.json", make.exported(file, sha256=digit * 64))
        make.write_measurements(
            tmp_path,
            make.measurement(file, sha256=digit * 64, p50_ms=1.0, metric=make.top1(value)),
        )
    assert [row.drop.value for row in _rows(tmp_path)[1:]] == pytest.approx([0, 0.02])


def test_a_later_setting_repeats_the_name_but_no_metric_it_did_not_measure(make, tmp_path):
    make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.9)),
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, num_threads=2),
    )
    first, second = _rows(tmp_path)[1:]
    assert (first.repeats, first.metric.value) == (False, 0.9)
    assert (second.repeats, second.metric, second.drop) == (True, None, None)


def test_a_teacher_that_is_not_here_is_told_by_its_students(make, tmp_path):
    ref = make.teacher_ref(None, source="timm:resnet50", kind="timm", num_params=25_557_032)
    make.write(tmp_path, "bundle.json", make.bundle(origin=make.provenance(teacher=ref)))
    teacher, student = _rows(tmp_path)
    assert (teacher.name, teacher.detail, teacher.num_params, teacher.macs) == (
        "timm:resnet50",
        "teacher, timm",
        25_557_032,
        None,
    )
    assert (student.depth, student.drop) == (1, None)


def test_students_that_were_never_tested_are_compared_on_val(make, tmp_path):
    for name, sha256, value, origin in (
        ("teacher", make.TEACHER, 0.92, make.provenance()),
        ("student", make.STUDENT, 0.9, make.provenance(teacher=make.teacher_ref())),
    ):
        val = make.top1(value, split="val", num_samples=269)
        metrics = (val, make.top1(0.97)) if name == "teacher" else (val,)
        record = make.bundle(sha256, origin=origin, metrics=metrics)
        make.write(tmp_path / name, "bundle.json", record)
    teacher, student = _rows(tmp_path)
    assert (teacher.metric.split, student.metric.split) == ("test", "val")
    assert (student.drop.value, student.drop.against) == (pytest.approx(0.02), "teacher")


def _measured_on_other_data(make, root, **changes):
    """The student's file with a metric of data that it was not trained on."""
    make.write(root, "bundle.json", make.bundle(value=0.95))
    make.write(root, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    data = make.provenance().data.model_copy(update={"source": "folder/other.zip", **changes})
    make.write_measurements(
        root,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.5), data=data),
    )


def test_a_metric_of_other_data_is_shown_but_not_compared(make, tmp_path):
    _measured_on_other_data(make, tmp_path, fingerprint="9" * 64)
    row = _rows(tmp_path)[1]
    assert row.metric.value == 0.5
    assert row.other_data == "other data: other.zip"
    assert (row.drop.value, row.drop.against) == (0.0, "parity, val, n = 269")
    assert row.measured.other_data.source == "folder/other.zip"


def test_the_same_data_under_another_name_is_compared(make, tmp_path):
    _measured_on_other_data(make, tmp_path)
    row = _rows(tmp_path)[1]
    assert row.drop.value == pytest.approx(0.45)
    assert (row.measured.other_data, row.other_data) == (None, "")


def test_a_metric_of_an_export_on_other_data_is_marked_and_not_compared(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    val = make.top1(0.3, split="val", num_samples=269)  # the bundle has 0.9 on as many
    for number, notes in enumerate(((), (f"{OTHER_DATA} (1, of the training 2)",))):
        record = make.exported(
            f"m{number}.onnx", sha256=str(number) * 64, metrics=(val,), notes=notes
        )
        make.write(tmp_path, f"m{number}.onnx.json", record)
    _, own, other = _rows(tmp_path)
    assert (own.other_data, own.drop.value) == ("", pytest.approx(0.6))
    assert (other.other_data, other.metric.value) == ("other data", 0.3)
    assert other.drop.against == "parity, val, n = 269"


def test_without_an_input_a_file_is_compared_with_its_network_without_it(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle(value=0.95))
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.94)),
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(0.7), missing=("acc",)
        ),
        make.measurement(
            "m.int8.onnx", sha256="2" * 64, p50_ms=1.0, metric=make.top1(0.66), missing=("acc",)
        ),
        make.measurement("student", sha256=make.STUDENT, p50_ms=2.0, missing=("acc",),
                         metric=make.top1(0.71)),
    )  # fmt: skip
    student, whole, without, int8 = _rows(tmp_path)
    assert student.metric.value == 0.71  # in torch, and not the bundle's own
    assert whole.drop.value == pytest.approx(0.01)
    assert (without.metric.value, without.drop.value) == (0.7, pytest.approx(0.01))
    assert (int8.metric.value, int8.drop.value) == (0.66, pytest.approx(0.05))


def test_without_an_input_and_without_its_like_there_is_no_drop(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write(tmp_path, "m.int8.onnx.json", make.exported("m.int8.onnx", sha256="2" * 64))
    make.write_measurements(
        tmp_path,
        make.measurement(
            "m.int8.onnx", sha256="2" * 64, p50_ms=1.0, metric=make.top1(0.7), missing=("acc",)
        ),
    )
    assert _rows(tmp_path)[1].drop is None
