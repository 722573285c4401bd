import numpy as np
import pytest
from lightning_fabric import Fabric
from recording_console import RecordingConsole

from edgekd.config import TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.material import open_material
from edgekd.distill.methods.table import make_method
from edgekd.distill.run import distill
from edgekd.distill.teacher import open_run_teacher


def recipe(**changes):
    plan = {"data": "builtin:digits", "student": "resnet8", "student_options": {"width": 8}}
    plan |= {"epochs": 2, "lr": 0.1, "precision": "fp32", "num_threads": 1, "accelerator": "cpu"}
    return TrainRecipe(**(plan | changes))


def opened(plan, console):
    settled = plan.settled(1000)
    material = open_material(plan, SilentConsole())
    fabric = Fabric(accelerator="cpu", devices=1)
    return open_run_teacher(settled, material, make_method(settled), fabric, console)


def test_a_run_without_a_teacher_has_none():
    assert opened(recipe(), RecordingConsole()) is None


@pytest.mark.parametrize(("lr", "is_taught"), [(0.1, True), (1e-7, False)])
def test_the_teacher_is_scored_before_it_teaches(tmp_path, lr, is_taught):
    """What its own bundle says of it on val, as a warning where it is no better than chance."""
    record = distill(recipe(lr=lr), tmp_path / "teacher")
    console = RecordingConsole()
    teacher = opened(recipe(teacher=str(tmp_path / "teacher"), method="kd"), console)
    assert teacher.ref.sha256 == record.weights_sha256
    heard, silent = console.infos, console.warnings
    if not is_taught:
        heard, silent = silent, heard
    val = record.metrics[0]
    line = f"top1 {val.value:.4f} on {val.num_samples} validation samples"
    line += "" if is_taught else "; hardly better than chance, so it teaches little"
    assert any(text.endswith(line) for text in heard)
    assert not any(val.name in text for text in silent)


@pytest.fixture(scope="module")
def digits_teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    distill(recipe(epochs=1), folder)
    return str(folder)


def test_a_teacher_of_other_data_is_questioned(digits_teacher, tmp_path):
    rng = np.random.default_rng(0)
    signs = tmp_path / "signs.npz"
    images = rng.integers(0, 256, (200, 24, 24, 3), dtype=np.uint8)
    np.savez(signs, images=images, labels=np.arange(200) % 10)
    console = RecordingConsole()
    opened(recipe(data=str(signs), teacher=digits_teacher, method="kd"), console)
    (warning,) = console.warnings
    assert warning.endswith(
        "; hardly better than chance, so it teaches little; it was trained on builtin:digits "
        f"(image 1x8x8), the student learns from {signs} (image 3x24x24)"
    )
    assert (  # 24 x 24 / (8 x 8) = 9
        "the teacher works at 8x8 pixels, the student at 24x24: --input-size 8 makes it about "
        "9.0 times cheaper" in console.infos
    )
    console.infos.clear()
    opened(recipe(data=str(signs), teacher=digits_teacher, method="kd", input_size=20), console)
    assert not any("--input-size" in text for text in console.infos)


def test_a_teacher_of_another_split_is_questioned_however_good(digits_teacher):
    console = RecordingConsole()
    opened(recipe(teacher=digits_teacher, method="kd", split=(0.2, 0.2)), console)
    (warning,) = console.warnings
    assert warning.endswith(
        "validation samples; it was trained on other contents, labels or splits of builtin:digits"
    )
    assert not any("--input-size" in text for text in console.infos)
