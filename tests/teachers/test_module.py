import torch
from torch import nn

from edgekd.records import TeacherRef
from edgekd.teachers.encode import InputsEncoder, ViewEncoder
from edgekd.teachers.module import ModuleTeacher
from edgekd.teachers.protocol import Capability

REF = TeacherRef(source="here", kind="bundle", sha256=None)
ENCODER = InputsEncoder.of_image(
    ViewEncoder(channels=3, size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
)


def teacher(module: nn.Module, *needs: Capability) -> ModuleTeacher:
    return ModuleTeacher(
        module, ref=REF, encoder=ENCODER, num_classes=2, needs=frozenset({"logits", *needs})
    )


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 2)
    )


def test_answers_without_gradient_and_never_changes() -> None:
    module = network().train()
    owner = nn.Module()
    owner.teacher = teacher(module)
    owner.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    view = torch.rand(4, 3, 8, 8, requires_grad=True)
    first, second = owner.teacher(view), owner.teacher(view)
    assert not first.logits.requires_grad
    assert torch.equal(first.logits, second.logits)  # no dropout, no batch statistics
    assert torch.allclose(owner.teacher(view[:1]).logits, first.logits[:1], atol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert not any(p.requires_grad for p in module.parameters())


def test_stays_out_of_checkpoints_and_optimizers() -> None:
    owner = nn.Module()
    owner.teacher = teacher(network())
    assert list(owner.parameters()) == []
    assert owner.state_dict() == {}


def test_its_answers_can_enter_a_students_loss() -> None:
    student = nn.Linear(2, 2)
    answer = teacher(network())(torch.rand(4, 3, 8, 8)).logits
    (student(answer) * answer).sum().backward()
    assert student.weight.grad is not None


def test_logits_are_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert teacher(network())(torch.rand(2, 3, 8, 8)).logits.dtype == torch.float32


def test_gives_what_the_module_has() -> None:
    module = network()
    assert teacher(module, "features", "attention").gives == {"logits"}
    output = teacher(module)(torch.rand(1, 3, 8, 8))
    assert (output.features, output.attention) == ((), ())
