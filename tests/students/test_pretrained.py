import pytest
from recording_console import RecordingConsole

from edgekd.config import TrainRecipe
from edgekd.errors import ModelError
from edgekd.records import ImageInput, Preprocess, SignalInput
from edgekd.students.build import build_student, parse_student
from edgekd.students.pretrained import load_initial_weights, pretrained_preprocess

IMAGE = ImageInput(channels=3, height=32, width=32, mean=(0.1,) * 3, std=(0.2,) * 3)
ACC = SignalInput(name="acc", channels=3, length=40, mean=(0.0,) * 3, std=(1.0,) * 3)


def preprocess(*inputs, **recipe):
    plan = {"data": "x", "pretrained": True} | recipe
    return pretrained_preprocess(TrainRecipe(**plan), Preprocess(inputs=inputs))


def test_published_weights_bring_their_normalisation():
    found = preprocess(IMAGE, student="timm:vit_tiny_patch16_224").image
    assert (found.mean, found.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (found.height, found.width) == (32, 32)
    grey = IMAGE.model_copy(update={"channels": 1, "mean": (0.1,), "std": (0.2,)})
    found = preprocess(grey, student="timm:resnet18").image
    assert found.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))  # ImageNet's, as published


@pytest.mark.parametrize(("method", "is_told"), [("cdd", True), ("kd", False)])
def test_cdd_is_told_how_to_start_from_its_teacher(method, is_told):
    console, given = RecordingConsole(), {"method": method, "teacher": "t", "student": "resnet8"}
    recipe = TrainRecipe(data="x", batch_size=64, cdd={"queue_size": 64}, **given)
    arch = parse_student("resnet8", {}, num_classes=3, in_channels=3, input_size=(16, 16))
    load_initial_weights(build_student(arch), arch, recipe, console)
    assert any("--weights TEACHER/weights.safetensors" in text for text in console.infos) == is_told


def test_without_published_weights_the_data_say_it():
    assert preprocess(ACC, pretrained=False).inputs == (ACC,)
    assert preprocess(IMAGE, student="resnet8", teacher="t").inputs == (IMAGE,)


@pytest.mark.parametrize("inputs", [(ACC,), (IMAGE, ACC)])
def test_a_student_of_images_is_told_what_the_data_have(inputs):
    with pytest.raises(ModelError, match=r"timm:resnet18: takes one image, the data have .*acc"):
        preprocess(*inputs, student="timm:resnet18")


@pytest.mark.parametrize("student", [None, "sensor"])
def test_a_student_of_sensors_has_no_published_weights(student):
    with pytest.raises(ModelError, match="leave --pretrained out"):
        preprocess(ACC, student=student)


def test_images_need_a_name():
    with pytest.raises(ModelError, match="no student named"):
        preprocess(IMAGE)
