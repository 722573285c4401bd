from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_bundle import write_bundle_of
from torch import nn

from edgekd.bundle import WEIGHTS_FILE
from edgekd.errors import BundleError, ModelError
from edgekd.records import ImageInput, Preprocess, SignalInput
from edgekd.students.build import build_student, parse_student_for
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]
Bundle = tuple[Path, nn.Module]


@torch.no_grad()
def test_answers_like_its_network(
    bundle: Bundle, opened: Opened, view: torch.Tensor, normalised: torch.Tensor
) -> None:
    folder, module = bundle
    teacher = opened(folder)
    assert torch.allclose(teacher(view).logits, module(normalised), atol=1e-5)
    assert (teacher.ref.kind, teacher.ref.num_params, teacher.ref.macs) == ("bundle", 123, 456)
    assert teacher.ref.sha256 is not None
    assert teacher.num_classes == 5
    assert teacher(view).features == ()


@torch.no_grad()
def test_features_are_computed_where_a_method_needs_them(
    bundle: Bundle, opened: Opened, view: torch.Tensor
) -> None:
    output = opened(bundle[0], needs=frozenset({"logits", "features"}))(view)
    assert [f.shape[1] for f in output.features] == [4, 8, 16]


def test_labels_in_another_order(bundle: Bundle, opened: Opened) -> None:
    with pytest.raises(ModelError, match="its class 0 is 'ant', the data's is 'bee'"):
        opened(bundle[0], class_names=("bee", "ant", "cat", "dog", "eel"))


def test_another_number_of_labels(bundle: Bundle, opened: Opened) -> None:
    with pytest.raises(ModelError, match="answers 5 classes, the data has 2"):
        opened(bundle[0], class_names=("ant", "bee"))


def test_a_damaged_bundle(bundle: Bundle, opened: Opened) -> None:
    weights = bundle[0] / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleError, match="truncated or altered"):
        opened(bundle[0])


def test_attention_is_refused_before_training(bundle: Bundle, opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"gives features, logits, .* also needs attention"):
        opened(bundle[0], needs=frozenset({"logits", "attention"}))


ACC = SignalInput(name="acc", channels=3, length=12, mean=(1.0,) * 3, std=(2.0,) * 3, clip=6.0)
ENV = SignalInput(name="env", channels=2, length=1, mean=(0.5,) * 2, std=(0.25,) * 2)


@pytest.fixture
def body(tmp_path: Path, classes: tuple[str, ...]) -> Bundle:
    """A bundle that takes two sensors."""
    torch.manual_seed(0)
    arch = parse_student_for(None, {"width": 2}, inputs=(ACC, ENV), num_classes=len(classes))
    module = build_student(arch).eval()
    write_bundle_of(tmp_path / "body", arch, module, Preprocess(inputs=(ACC, ENV)), classes)
    return tmp_path / "body", module


@torch.no_grad()
def test_a_teacher_of_sensors_takes_those_it_knows_by_name(
    body: Bundle, opened: Opened, image: ImageInput, view: torch.Tensor
) -> None:
    """The student's normalisation is the data's; the teacher has its own."""
    folder, module = body
    other = ACC.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})
    teacher = opened(folder, preprocess=Preprocess(inputs=(image, ENV, other)))
    acc, env = torch.randn(3, 3, 12), torch.rand(3, 2, 1)
    expected = module(((acc - 1) / 2).clamp(-6, 6), (env - 0.5) / 0.25)
    assert torch.allclose(teacher(view, env, acc).logits, expected, atol=1e-5)
    assert teacher.gives == {"logits"}


@torch.no_grad()
def test_a_teacher_of_images_teaches_a_student_that_has_more(
    bundle: Bundle, opened: Opened, image: ImageInput, view: torch.Tensor, normalised: torch.Tensor
) -> None:
    folder, module = bundle
    teacher = opened(folder, preprocess=Preprocess(inputs=(image, ACC)))
    answer = teacher(view, torch.randn(3, 3, 12)).logits
    assert torch.allclose(answer, module(normalised), atol=1e-5)


@pytest.mark.parametrize("there", [(ENV,), (ENV, ACC.model_copy(update={"length": 13}))])
def test_a_sensor_that_the_data_lack_is_named(
    there: tuple[SignalInput, ...], body: Bundle, opened: Opened
) -> None:
    with pytest.raises(ModelError, match="takes signal acc 3x12, the data have signal env 2x1"):
        opened(body[0], preprocess=Preprocess(inputs=there))
