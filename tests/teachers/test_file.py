from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.records import TeacherRef
from edgekd.teachers.encode import ViewEncoder
from edgekd.teachers.file import FileTeacher, Network, input_encoder
from edgekd.teachers.request import TeacherRequest

Asked = Callable[..., TeacherRequest]
REF = TeacherRef(source="net.onnx", kind="onnx", sha256=None)
ENCODER = ViewEncoder(channels=3, size=None, mean=(0.0,) * 3, std=(1.0,) * 3)


def means(x: Tensor) -> Tensor:
    """``(B, 3)``: one logit per channel."""
    return x.mean(dim=(2, 3)) - 0.5


def test_a_fixed_batch_is_filled_up_and_cut(asked: Asked) -> None:
    sizes = []

    def run(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return means(x)

    teacher = FileTeacher(Network(run=run, encoder=ENCODER, batch_size=3), ref=REF, request=asked())
    view = torch.rand(7, 3, 4, 4)
    assert torch.allclose(teacher(view).logits, means(view))
    assert set(sizes) == {3}
    assert teacher.num_classes == 3


def test_probabilities_become_logits(asked: Asked, notes: object) -> None:
    def run(x: Tensor) -> Tensor:
        return (10 * means(x)).softmax(dim=1)

    teacher = FileTeacher(Network(run=run, encoder=ENCODER), ref=REF, request=asked())
    view = torch.rand(5, 3, 4, 4)
    logits, expected = teacher(view).logits, 10 * means(view)
    for temperature in (1.0, 4.0):
        soft = (logits / temperature).softmax(dim=1)
        assert torch.allclose(soft, (expected / temperature).softmax(dim=1), atol=1e-6)
    assert any("probabilities" in line for line in notes.lines)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda x: means(x).flatten(), r"answers shape \(12,\)"),
        (lambda x: means(x)[:1], r"answers shape \(1, 3\)"),
        (lambda x: means(x) / 0, "expected finite"),
        (lambda x: x @ torch.zeros(5, 2), "does not run on a batch"),
    ],
)
def test_answers_that_are_no_logits(
    run: Callable[[Tensor], Tensor], message: str, asked: Asked
) -> None:
    with pytest.raises(ModelError, match=message):
        FileTeacher(Network(run=run, encoder=ENCODER), ref=REF, request=asked())


def test_the_datas_normalisation_is_announced(asked: Asked, notes: object) -> None:
    encoder = input_encoder(asked(), channels=3, size=(8, 8))
    assert (encoder.mean, encoder.std) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
    assert any("data's normalisation" in line for line in notes.lines)


def test_a_given_normalisation_is_taken(asked: Asked, notes: object) -> None:
    options = {"mean": (0.0,), "std": (0.1, 0.2, 0.3)}
    encoder = input_encoder(asked(options=options), channels=3, size=None)
    assert (encoder.mean, encoder.std) == ((0.0,) * 3, (0.1, 0.2, 0.3))
    assert notes.lines == []


@pytest.mark.parametrize("options", [{"mean": (0.1, 0.2)}, {"std": (0.0,)}])
def test_a_normalisation_that_does_not_fit(
    options: dict[str, tuple[float, ...]], asked: Asked
) -> None:
    with pytest.raises(ModelError, match="expected one value or 3, and std above 0"):
        input_encoder(asked(options=options), channels=3, size=None)
