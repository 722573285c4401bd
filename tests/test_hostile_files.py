"""Bundles and model files mutated at random: always a clean error, never a traceback or code."""

import contextlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program_file import BatchNormed, saved
from sensor_file import write_sensors

from edgekd.bundle import from_json
from edgekd.bundle import to_json as signed
from edgekd.cli.main import main_inner
from edgekd.errors import BundleError, EdgekdError
from edgekd.records import Record, StudentBundle
from edgekd.students.build import load_student

CLEAN = {0, *(kind.exit_code for kind in EdgekdError.__subclasses__())}

mutations = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 1 << 30), st.integers(1, 255)),
        st.tuples(st.just("cut"), st.integers(0, 1 << 30), st.just(0)),
        st.tuples(st.just("drop"), st.integers(0, 1 << 30), st.integers(1, 64)),
        st.tuples(st.just("repeat"), st.integers(0, 1 << 30), st.integers(1, 64)),
    ),
    min_size=1,
    max_size=4,
)
json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.just("__import__('os').system('touch pwned')"),
    st.lists(st.integers(-5, 5), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
quietly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def mutated(content, changes):
    data = bytearray(content)
    for kind, where, amount in changes:
        if not data:
            break
        at = where % len(data)
        if kind == "flip":
            data[at] ^= amount
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + amount]
        else:
            data[at:at] = data[at : at + amount]
    return bytes(data)


def edgekd(*arguments):
    """Exit code and stderr; any other exception than a user's error fails the test by itself."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main_inner([str(argument) for argument in arguments])
    return code, errors.getvalue()


def assert_clean(code, stderr):
    assert code in CLEAN, stderr
    assert "Traceback" not in stderr
    if code:
        assert stderr.strip()


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    data = ("--data", "builtin:digits")
    small = ("--model", "resnet8", "--set", "student_options.width=4", "--epochs", "1")
    code, stderr = edgekd("teach", *data, *small, "--threads", "1", "-o", folder / "student")
    assert code == 0, stderr
    pixels = np.random.default_rng(0).integers(0, 256, (180, 8, 8), np.uint8)
    sensors = ("--data", write_sensors(folder / "body.npz", x=pixels), "--method", "none")
    small = ("--set", "student_options={width=2, image_width=2}", "--epochs", "1")
    code, stderr = edgekd(
        "distill", *sensors, *small, "--precision", "fp32", "--threads", "1", "-o", folder / "body"
    )
    assert code == 0, stderr
    bundle, exported = folder / "student", folder / "exported"
    loose = (
        "--set",
        "min_sqnr_db=-100",
        "--set",
        "min_agreement=0",
        "--set",
        "max_drop_points=100",
    )
    code, stderr = edgekd("export", bundle, "--int8", *data, *loose, "-o", exported)
    assert code == 0, stderr
    return folder


@pytest.fixture
def working(tmp_path, originals, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(originals, copy)
    monkeypatch.chdir(tmp_path)
    yield copy
    assert not list(Path(tmp_path).rglob("pwned*"))


@pytest.mark.parametrize("bundle", ["student", "body"])
@pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
@given(changes=mutations)
@quietly
def test_a_mutated_bundle_is_refused_or_unchanged(working, originals, name, bundle, changes):
    content = (originals / bundle / name).read_bytes()
    (working / bundle / name).write_bytes(mutated(content, changes))
    assert_clean(*edgekd("inspect", working / bundle))
    with contextlib.suppress(BundleError):
        load_student(working / bundle)


paths = st.lists(st.integers(0, 30), min_size=1, max_size=5)


@given(path=paths, value=json_values)
@quietly
def test_a_forged_record_with_a_right_digest_is_refused_or_harmless(working, path, value):
    """Whoever alters a bundle may also sign it anew; then every field has to be checked."""
    check_forged(working / "student", [], path, value)


@given(path=paths, value=json_values)
@settings(quietly, max_examples=150)
def test_a_forged_student_of_sensors_is_refused_or_harmless(working, path, value):
    """What it is built from is nested deeper than anything else in a record."""
    check_forged(working / "body", ["arch", "arguments", "inputs"], path, value)


def check_forged(bundle, start, path, value):
    """Put ``value`` where ``path`` leads from ``start`` and look at the bundle in both ways."""
    file = bundle / "bundle.json"
    original = file.read_bytes()
    fields = json.loads(original)
    del fields["digest"]
    holder, key = fields, None
    for name in start:
        holder = holder[name]
    for index in path:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            break
        key = keys[index % len(keys)]
        if not isinstance(holder[key], dict | list) or not holder[key]:
            break
        parent, holder = holder, holder[key]
    else:
        holder = parent
    holder[key] = value
    try:
        file.write_bytes(_sign(fields))
        assert_clean(*edgekd("inspect", bundle))
        with contextlib.suppress(BundleError):
            load_student(bundle)
    finally:
        file.write_bytes(original)


@given(changes=mutations)
@quietly
def test_a_mutated_checkpoint_is_refused_or_resumed_to_the_same_weights(
    working, originals, changes
):
    run = working / "student"
    content = (originals / "student" / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").write_bytes(mutated(content, changes))
    (run / "bundle.json").unlink(missing_ok=True)  # with it the run is finished, and not resumed
    code, stderr = edgekd("teach", "--resume", "-o", run)
    assert_clean(code, stderr)
    assert code in (0, BundleError.exit_code)
    weights = "weights.safetensors"
    assert (run / weights).read_bytes() == (originals / "student" / weights).read_bytes()


def _sign(fields):
    class Anything(Record):
        model_config = {"extra": "allow", "allow_inf_nan": True}  # noqa: RUF012 - pydantic's way

    return signed(Anything.model_construct(**fields))


def test_the_forger_of_these_tests_signs_well(originals):
    fields = json.loads((originals / "student" / "bundle.json").read_bytes())
    del fields["digest"]
    assert from_json(StudentBundle, _sign(fields), source="forged").labels == tuple("0123456789")


FILES = ("student.onnx", "student.int8.onnx", "student.tflite", "student.int8.tflite")


@pytest.mark.parametrize("name", FILES)
@given(changes=mutations)
@quietly
def test_a_mutated_model_file_is_inspected_cleanly(working, originals, name, changes):
    content = (originals / "exported" / name).read_bytes()
    path = working / "exported" / name
    path.write_bytes(mutated(content, changes))
    assert_clean(*edgekd("inspect", path))
    bare = working / path.name  # without a record beside it
    bare.write_bytes(path.read_bytes())
    assert_clean(*edgekd("inspect", bare))


@pytest.mark.parametrize("name", FILES)
@given(changes=mutations)
@settings(quietly, max_examples=5)
def test_a_mutated_model_file_is_benched_cleanly(working, originals, name, changes):
    bare = working / name
    bare.write_bytes(mutated((originals / "exported" / name).read_bytes(), changes))
    quick = ("--set", "num_calls=1", "--set", "num_warmup=0", "--set", "min_seconds=0")
    assert_clean(*edgekd("bench", bare, *quick))


@given(
    content=st.binary(max_size=300), suffix=st.sampled_from([".json", ".onnx", ".tflite", ".pt2"])
)
@quietly
def test_noise_is_not_a_model(tmp_path, content, suffix):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(content)
    code, stderr = edgekd("inspect", path)
    assert code == BundleError.exit_code, stderr


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = saved(BatchNormed().eval(), tmp_path_factory.mktemp("program") / "net.pt2")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@given(changes=mutations)
@settings(quietly, max_examples=30)
def test_a_mutated_program_is_inspected_cleanly(tmp_path, program, changes):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in program.items():
            ours = name.endswith("models/model.json")
            archive.writestr(name, mutated(content, changes) if ours else content)
    assert_clean(*edgekd("inspect", path))


def test_a_pickle_is_never_loaded(tmp_path, originals):
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    payload = pickle.dumps(Bomb())
    copy = tmp_path / "copy"
    shutil.copytree(originals, copy)
    for name in ("weights.safetensors", "bundle.json", "checkpoint.safetensors"):
        (copy / "student" / name).write_bytes(payload)
    data = ("--data", "builtin:digits")
    for name in ("a.pt2", "a.onnx", "a.keras", "a.tflite"):
        (tmp_path / name).write_bytes(payload)
    small = ("--student", "resnet8", "--method", "kd", "--epochs", "1", *data)
    codes = [
        edgekd("inspect", copy / "student")[0],
        edgekd("export", copy / "student", "-o", tmp_path / "out")[0],
        edgekd("distill", *small, "--teacher", copy / "student", "-o", tmp_path / "o1")[0],
        edgekd("teach", *data, "--model", "resnet8", "--resume", "-o", copy / "student")[0],
        *(
            edgekd("distill", *small, "--teacher", tmp_path / name, "-o", tmp_path / name[2:])[0]
            for name in ("a.pt2", "a.onnx", "a.keras")
        ),
        edgekd("inspect", tmp_path / "a.tflite")[0],
        edgekd("inspect", tmp_path / "a.pt2")[0],
        edgekd("export", tmp_path / "a.pt2", "-o", tmp_path / "out")[0],
    ]
    assert set(codes) <= {BundleError.exit_code, 8}, codes
    assert not (tmp_path / "pwned").exists()
