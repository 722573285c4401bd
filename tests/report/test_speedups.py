import pytest

from edgekd.report.collect import collect
from edgekd.report.speedups import OWN_FP32, fp32_file_ms, speedup


def _networks(make, root, *measurements):
    make.write(root / "teacher", "bundle.json", make.bundle(make.TEACHER))
    origin = make.provenance(teacher=make.teacher_ref())
    make.write(root / "student", "bundle.json", make.bundle(origin=origin))
    make.write_measurements(root, *measurements)
    (lineage,) = collect([root]).groups[0].lineages
    return lineage.students[0], lineage.teacher


def test_the_reference_falls_back_from_file_to_torch(make, tmp_path):
    own = make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0)
    of_teacher = {"source": make.TEACHER}
    references = [
        make.measurement("s", sha256=make.STUDENT, p50_ms=2.0),
        make.measurement("t", sha256=make.TEACHER, p50_ms=3.0, **of_teacher),
        make.measurement("t.tflite", sha256="8" * 64, p50_ms=4.0, **of_teacher),
        make.measurement("t.int8.onnx", sha256="6" * 64, p50_ms=0.1, **of_teacher),  # not fp32
        make.measurement("t.onnx", sha256="9" * 64, p50_ms=5.0, **of_teacher),
    ]
    expected = ["student torch", "teacher torch", "teacher tflite", "teacher tflite", ""]
    for count, over in enumerate(expected, start=1):
        root = tmp_path / str(count)
        student, teacher = _networks(make, root, own, *references[:count])
        measured = next(file for file in student.files if file.name == "m.onnx").measured[0]
        found = speedup(measured, "onnx", student=student, teacher=teacher)
        assert found.over == over
        assert found.ratio == pytest.approx({1: 2, 2: 3, 3: 4, 4: 4, 5: 5}[count])


@pytest.mark.parametrize(
    "changes",
    [{"num_threads": 2}, {"batch_size": 4}, {"device": "pi5"}],
    ids=lambda c: next(iter(c)),
)
def test_other_settings_are_not_compared(changes, make, tmp_path):
    student, teacher = _networks(
        make,
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0),
        make.measurement("t.onnx", sha256="9" * 64, p50_ms=5.0, source=make.TEACHER, **changes),
    )
    (measured,) = student.files[0].measured
    found = speedup(measured, "onnx", student=student, teacher=teacher)
    assert (found.ratio, found.over) == (1.0, OWN_FP32)  # it is its own reference
    assert fp32_file_ms(student, measured.setting, "onnx") == pytest.approx(1.0)
    assert fp32_file_ms(teacher, measured.setting, "onnx") is None


def test_without_a_teachers_time_int8_is_compared_with_its_own_fp32_file(make, tmp_path):
    student, teacher = _networks(
        make,
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0),
        make.measurement("m.int8.onnx", sha256="2" * 64, p50_ms=0.25),
        make.measurement("m.int8.tflite", sha256="3" * 64, p50_ms=0.1),  # and no fp32 file of it
    )
    found = {
        file.name: speedup(file.measured[0], file.format, student=student, teacher=teacher)
        for file in student.files
    }
    assert found["m.int8.tflite"] is None
    assert found["m.int8.onnx"].over == OWN_FP32
    assert found["m.int8.onnx"].ratio == pytest.approx(4.0)


def test_nothing_is_compared_on_an_emulated_device(make, tmp_path):
    emulated = {"device_info": make.device(arch="aarch64", emulated=True)}
    student, _ = _networks(
        make, tmp_path, make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, **emulated)
    )
    (measured,) = student.files[0].measured
    assert speedup(measured, "onnx", student=student, teacher=None) is None
