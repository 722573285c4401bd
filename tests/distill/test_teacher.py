import pytest
from lightning_fabric import Fabric

from edgekd.config import TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.material import open_material
from edgekd.distill.methods.table import make_method
from edgekd.distill.run import distill
from edgekd.distill.teacher import open_run_teacher


class Listening(SilentConsole):
    def __init__(self):
        self.infos, self.warnings = [], []

    def info(self, text):
        self.infos.append(text)

    def warn(self, text):
        self.warnings.append(text)


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
    assert opened(recipe(), Listening()) is None


@pytest.mark.parametrize(("lr", "is_taught"), [(0.1, True), (1e-7, False)])
def test_the_teacher_is_scored_before_it_teaches(tmp_path, lr, is_taught):
    """What its own bundle says of it on val, as a warning where it is no better than chance."""
    record = distill(recipe(lr=lr), tmp_path / "teacher")
    console = Listening()
    teacher = opened(recipe(teacher=str(tmp_path / "teacher"), method="kd"), console)
    assert teacher.ref.sha256 == record.weights_sha256
    heard, silent = console.infos, console.warnings
    if not is_taught:
        heard, silent = silent, heard
    val = record.metrics[0]
    line = f"top1 {val.value:.4f} on {val.num_samples} validation samples"
    assert any(text.endswith(line) for text in heard)
    assert not any(text.endswith(line) for text in silent)
