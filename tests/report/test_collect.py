import pytest

from edgekd.report.collect import collect


def test_the_sha256_sums_link_teacher_student_files_and_measurements(make, tmp_path):
    collection = collect([make.write_runs(tmp_path)])
    (group,) = collection.groups
    (lineage,) = group.lineages
    (student,) = lineage.students
    assert group.source == "builtin:digits"
    assert (lineage.teacher.label, student.label) == ("teacher", "student")
    assert [file.label for file in lineage.teacher.files] == ["teacher-exported/student.onnx"]
    assert [(file.name, file.measured[0].p50_ms) for file in student.files] == [
        ("exported/student.onnx", pytest.approx(0.4)),
        ("exported/student.int8.onnx", pytest.approx(0.2)),
        ("exported/student.tflite", pytest.approx(0.5)),
        ("exported/student.int8.tflite", pytest.approx(0.1)),
    ]
    assert (len(lineage.teacher.history), len(student.history)) == (12, 8)
    assert [network.label for network in collection.networks] == ["teacher", "student"]


def test_the_latest_measurement_of_a_setting_is_shown_and_older_ones_are_counted(make, tmp_path):
    make.write(tmp_path, "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))

    def measure(p50_ms, **changes):
        return make.measurement("m.onnx", sha256="1" * 64, p50_ms=p50_ms, **changes)

    make.write_measurements(
        tmp_path,
        measure(3.0, created="2026-11-03T10:00:00+00:00"),  # the latest, though written first
        measure(1.0, created="2026-11-01T10:00:00+00:00"),
        measure(2.0, created="2026-11-02T10:00:00+00:00"),
        measure(5.0, num_threads=2),
        measure(7.0, batch_size=8),
        measure(9.0, device="pi5", device_info=make.device(name="pi", arch="aarch64")),
    )
    (file,) = collect([tmp_path]).networks[0].files
    assert [(m.setting.label, m.p50_ms, m.num_older) for m in file.measured] == [
        ("local, 1 thread", pytest.approx(3.0), 2),
        ("local, 1 thread, batch 8", pytest.approx(7.0), 0),
        ("local, 2 threads", pytest.approx(5.0), 0),
        ("pi5, 1 thread", pytest.approx(9.0), 0),
    ]


def test_a_measurement_without_an_input_is_a_setting_of_its_own(make, tmp_path):
    def measure(value, day, **changes):
        return make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=1.0, metric=make.top1(value),
            created=f"2026-11-0{day}T10:00:00+00:00", **changes,
        )  # fmt: skip

    make.write_measurements(
        tmp_path, measure(0.9, 1), measure(0.7, 2, missing=("acc", "gyro")), measure(0.8, 3)
    )
    (file,) = collect([tmp_path]).networks[0].files
    assert [(m.setting.label, m.metric.value, m.num_older) for m in file.measured] == [
        ("local, 1 thread", 0.8, 1),
        ("local, 1 thread, without acc and gyro", 0.7, 0),
    ]


def test_files_are_named_by_their_path_only_where_several_are_called_alike(make, tmp_path):
    make.write(tmp_path / "a", "m.onnx.json", make.exported("m.onnx", sha256="1" * 64))
    make.write(tmp_path / "a", "n.onnx.json", make.exported("n.onnx", sha256="2" * 64))
    names = [file.name for file in collect([tmp_path]).networks[0].files]
    assert names == ["m.onnx", "n.onnx"]
    other = make.exported("m.onnx", sha256="3" * 64, source=make.TEACHER)
    make.write(tmp_path / "b", "m.onnx.json", other)
    names = [file.name for network in collect([tmp_path]).networks for file in network.files]
    assert sorted(names) == ["a/m.onnx", "a/n.onnx", "b/m.onnx"]


def test_a_bench_without_data_hides_no_metric(make, tmp_path):
    def measure(p50_ms, day, **changes):
        created = f"2026-11-0{day}T10:00:00+00:00"
        return make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=p50_ms, created=created, **changes
        )

    make.write_measurements(
        tmp_path,
        measure(1.0, 1, metric=make.top1(0.9)),
        measure(2.0, 2, metric=make.top1(0.91)),
        measure(3.0, 3),
        measure(4.0, 1, num_threads=2),
    )
    one, two = collect([tmp_path]).networks[0].files[0].measured
    assert (one.p50_ms, one.metric.value) == (pytest.approx(3.0), 0.91)
    assert two.metric is None  # a metric is of its own setting


def test_a_copied_measurements_file_adds_nothing(make, tmp_path):
    record = make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0)
    make.write_measurements(tmp_path / "a", record)
    make.write_measurements(tmp_path / "b", record)
    (file,) = collect([tmp_path]).networks[0].files
    assert [measured.num_older for measured in file.measured] == [0]


def test_two_machines_of_one_name_are_never_merged(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0),
        make.measurement(
            "m.onnx", sha256="1" * 64, p50_ms=2.0, device_info=make.device(cpu="Other CPU")
        ),
        make.measurement(  # the same machine, warmer and busier
            "m.onnx",
            sha256="1" * 64,
            p50_ms=4.0,
            num_threads=2,
            device_info=make.device(temperature_c=70.0, load_average=2.0),
        ),
    )
    collection = collect([tmp_path])
    assert [label for label, _ in collection.devices] == ["local #1", "local #2"]
    (file,) = collection.networks[0].files
    assert [m.setting.label for m in file.measured] == [
        "local #1, 1 thread",
        "local #1, 2 threads",
        "local #2, 1 thread",
    ]


def test_a_device_shows_the_versions_of_every_runtime_used_on_it(make, tmp_path):
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0),
        make.measurement(
            "m.tflite",
            sha256="2" * 64,
            p50_ms=1.0,
            device_info=make.device(runtime_versions={"ai-edge-litert": "2.3.0"}),
        ),
    )
    ((_, info),) = collect([tmp_path]).devices
    assert info.runtime_versions == {"onnxruntime": "1.31.1", "ai-edge-litert": "2.3.0"}


def test_emulated_latencies_are_not_numbers(make, tmp_path):
    emulated = make.device(arch="aarch64", emulated=True)
    make.write_measurements(
        tmp_path,
        make.measurement("m.onnx", sha256="1" * 64, p50_ms=1.0, device_info=emulated),
    )
    (measured,) = collect([tmp_path]).networks[0].files[0].measured
    assert (measured.p50_ms, measured.percentile_ms(99), measured.cold_start_ms) == (None,) * 3
    assert measured.record.peak_rss_bytes == 12_000_000


def test_students_are_grouped_by_data_and_by_teacher(make, tmp_path):
    origins = {
        "kd-a": make.provenance(teacher=make.teacher_ref()),
        "kd-b": make.provenance(teacher=make.teacher_ref()),
        "timm": make.provenance(teacher=make.teacher_ref(None, source="timm:x", kind="timm")),
        "none": make.provenance(),
        "teacher": make.provenance(),
        "cifar": make.provenance(
            data=make.provenance().data.model_copy(update={"source": "c", "fingerprint": "9" * 64})
        ),
    }
    for number, (name, origin) in enumerate(origins.items()):
        sha = make.TEACHER if name == "teacher" else f"{number}" * 64
        make.write(tmp_path / name, "bundle.json", make.bundle(sha, origin=origin))
    groups = collect([tmp_path]).groups
    shown = {
        group.source: [
            (
                lineage.teacher.label if lineage.teacher else lineage.teacher_ref,
                [student.label for student in lineage.students],
            )
            for lineage in group.lineages
        ]
        for group in groups
    }
    assert shown == {
        "builtin:digits": [
            ("teacher", ["kd-a", "kd-b"]),
            (origins["timm"].teacher, ["timm"]),
            (None, ["none"]),  # a teacher is not listed again among those without a teacher
        ],
        "c": [(None, ["cifar"])],
    }


def test_a_student_that_taught_another_stands_in_both_lineages_but_counts_once(make, tmp_path):
    middle = make.provenance(teacher=make.teacher_ref())
    small = make.provenance(teacher=make.teacher_ref(make.STUDENT, source="runs/middle"))
    make.write(tmp_path / "big", "bundle.json", make.bundle(make.TEACHER))
    make.write(tmp_path / "middle", "bundle.json", make.bundle(make.STUDENT, origin=middle))
    make.write(tmp_path / "small", "bundle.json", make.bundle("c" * 64, origin=small))
    collection = collect([tmp_path])
    (group,) = collection.groups
    assert [(line.teacher.label, line.students[0].label) for line in group.lineages] == [
        ("big", "middle"),
        ("middle", "small"),
    ]
    assert [network.label for network in collection.networks] == ["big", "middle", "small"]


def test_files_without_their_bundle_tell_what_they_carry(make, tmp_path):
    origin = make.provenance(teacher=make.teacher_ref())
    record = make.exported("m.onnx", sha256="1" * 64, origin=origin)
    make.write(tmp_path, "m.onnx.json", record)
    (network,) = collect([tmp_path]).networks
    assert (network.label, network.bundle, network.provenance) == (
        "source of m.onnx",
        None,
        origin,
    )


def test_measurements_in_torch_belong_to_the_network(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    make.write_measurements(tmp_path, make.measurement("student", sha256=make.STUDENT, p50_ms=2.0))
    (network,) = collect([tmp_path]).networks
    assert network.files == ()
    assert [measured.p50_ms for measured in network.torch] == [pytest.approx(2.0)]
