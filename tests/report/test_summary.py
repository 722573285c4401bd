import pytest

from edgekd.report.collect import collect
from edgekd.report.summary import summary


def _summary(root):
    return [paragraph for group in collect([root]).groups for paragraph in summary(group)]


def test_the_worked_example_in_words(make, tmp_path):
    # 40.0 / 12.5 MACs, 270 / 78 parameters, 97 - 95 points, 1.6 / 0.1 ms
    assert _summary(make.write_runs(tmp_path)) == [
        "student (resnet8) learned from teacher (resnet20) with 3.20 times fewer MACs and 3.46 "
        "times fewer parameters: top1 95.00 % on test (n = 200), 2.00 points below the teacher. "
        "Fastest file: exported/student.int8.tflite (int8-static), 90.0 kB, p50 0.100 ms on local, "
        "1 thread, 16.0 times as fast as the teacher onnx, 0.50 points above its fp32 network (one "
        "of the 200 samples weighs 0.50 points)."
    ]


@pytest.mark.parametrize(
    ("hits", "said"),
    [
        (263, "0.00 points below the teacher."),
        (264, "0.37 points above the teacher (one of the 269 samples weighs 0.37 points)."),
        (261, "0.74 points below the teacher (one of the 269 samples weighs 0.37 points)."),
        (260, "1.12 points below the teacher."),
    ],
)
def test_a_difference_of_a_sample_or_two_says_what_one_weighs(make, tmp_path, hits, said):
    for name, sha256, right, teacher in (
        ("teacher", make.TEACHER, 263, None),
        ("student", make.STUDENT, hits, make.teacher_ref()),
    ):
        metric = make.top1(right / 269, num_samples=269)
        origin = make.provenance(teacher=teacher)
        make.write(
            tmp_path / name, "bundle.json", make.bundle(sha256, metrics=(metric,), origin=origin)
        )
    (paragraph,) = _summary(tmp_path)
    assert paragraph.endswith(said)


def test_the_fewest_threads_are_quoted(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=2.0),
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, num_threads=4),
    )
    (paragraph,) = _summary(tmp_path)
    assert "p50 2.00 ms on local, 1 thread." in paragraph
    assert "without a teacher: 78.0 k parameters, 12.5 M MACs: top1 95.00 %" in paragraph


def test_a_student_larger_than_its_teacher_is_said_so(make, tmp_path):
    ref = make.teacher_ref(None, source="small.onnx", kind="onnx", num_params=39_000)
    make.write(tmp_path, "bundle.json", make.bundle(origin=make.provenance(teacher=ref)))
    (paragraph,) = _summary(tmp_path)
    assert "learned from small.onnx with 2.00 times more parameters:" in paragraph
    assert "MACs" not in paragraph
    assert "Fastest file" not in paragraph


def test_a_tuning_run_is_told_by_its_val_figure(make, tmp_path):
    val = make.top1(0.9, split="val", num_samples=269)
    make.write(tmp_path, "bundle.json", make.bundle(metrics=(val,)))
    (paragraph,) = _summary(tmp_path)
    assert "12.5 M MACs: top1 90.00 % on val (n = 269)." in paragraph


def test_a_file_without_its_bundle_claims_nothing(make, tmp_path):
    make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    assert _summary(tmp_path) == ["source of m.onnx: only its files are here."]


def test_without_a_teachers_time_the_fp32_file_is_what_int8_is_compared_with(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0),
        make.measurement("m.int8.onnx", sha256="2" * 64, p50_ms=0.25),
    )
    (paragraph,) = _summary(tmp_path)
    assert "p50 0.250 ms on local, 1 thread, 4.00 times as fast as the fp32 file." in paragraph


def test_a_file_without_one_of_its_inputs_is_not_the_fastest(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=2.0),
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, missing=("acc",)),
    )
    (paragraph,) = _summary(tmp_path)
    assert "p50 2.00 ms on local, 1 thread." in paragraph
