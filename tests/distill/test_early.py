import pytest

from edgekd.config import TrainRecipe
from edgekd.distill.early import check_before_data
from edgekd.distill.run import distill
from edgekd.errors import BundleError, ModelError

VIT = "timm:vit_tiny_patch16_224"


def recipe(**changes):
    return TrainRecipe(**({"data": "absent.zip", "student": "resnet8"} | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student": "resnet9"}, "resnet9: no such depth"),
        ({"student_options": {"widht": 4}}, "no option 'widht'"),
        ({"student": "timm:resent18"}, "did you mean .*resnet18"),
        ({"student": "timm:resnet18", "student_options": {"drop_pth": 1}}, "drop_pth"),
        ({"student": VIT, "student_options": {"drop_pth": 1}}, "drop_pth"),
        ({"student": VIT, "student_options": {"in_chans": 1}}, "'in_chans' is not an option"),
        ({"student": VIT, "input_size": 32, "student_options": {"img_size": 64}}, "32x32 pixels"),
        ({"student": "sensor", "student_options": {"widht": 4}}, "no option 'widht'"),
        ({"student": "sensor", "task": "retrieval"}, "students of one image"),
        ({"method": "kd"}, "add --teacher"),
        ({"method": "kd", "teacher": "runs/absent"}, "runs/absent: no such file or folder"),
        ({"method": "kd", "teacher": "timm:resent18"}, "did you mean .*resnet18"),
        ({"method": "kd", "teacher": "timm:resnet18"}, "untrained, it has nothing to teach"),
        ({"method": "kd", "teacher": "net.onnx#scale=2"}, "#scale=2 is not understood"),
    ],
)
def test_what_no_data_could_mend_is_refused_before_they_are_read(changes, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        distill(recipe(**changes), tmp_path / "run")


def test_a_teacher_of_another_kind_than_retrieval_needs(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"x")
    plan = recipe(method="kd", task="retrieval", teacher=str(tmp_path / "net.onnx"))
    with pytest.raises(ModelError, match="gives no embedding"):
        check_before_data(plan)


def test_a_damaged_teacher(tmp_path):
    (tmp_path / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        check_before_data(recipe(method="kd", teacher=str(tmp_path)))
    with pytest.raises(BundleError, match="not a safetensors file"):
        absent = f"timm:resnet18@{tmp_path / 'absent.safetensors'}"
        check_before_data(recipe(method="kd", teacher=absent))


@pytest.mark.parametrize(
    "changes",
    [
        {"student": None},
        {"student_options": {"width": 4}},
        {"student": "sensor", "student_options": {"encoder": "transformer"}},
        {"student": "timm:resnet18", "student_options": {"drop_path_rate": 0.1}},
        {"student": VIT, "student_options": {"drop_path_rate": 0.1}},
        {"method": "kd", "teacher": "timm:resnet18", "pretrained": True},
    ],
)
def test_what_some_data_could_suit_waits_for_them(changes):
    check_before_data(recipe(**changes))
