import pytest
import timm
import torch

from edgekd.errors import ModelError
from edgekd.records import ArchSpec
from edgekd.students import timm_family


def parsed(name: str, size: int = 32, **options: object) -> ArchSpec:
    return timm_family.parse(name, options, num_classes=5, in_channels=1, input_size=(size, size))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "timm:mobilenetv3_small_050"])
def test_a_name_with_or_without_prefix(name: str) -> None:
    arch = parsed(name)
    assert arch.arguments == {"name": "mobilenetv3_small_050"}
    module = timm_family.build(ArchSpec.model_validate_json(arch.model_dump_json()))
    assert module(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    weights = timm.create_model("mobilenetv3_small_050", num_classes=5, in_chans=1).state_dict()
    module.load_state_dict(weights)  # the very same architecture


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128s"]
)
def test_an_architecture_of_fixed_size_gets_the_datas(name: str) -> None:
    arch = parsed(name, size=64)
    assert arch.arguments["img_size"] == [64, 64]
    assert timm_family.build(arch).eval()(torch.zeros(1, 1, 64, 64)).shape == (1, 5)


def test_options_reach_the_architecture() -> None:
    arch = parsed("vit_tiny_patch16_224", depth=2, patch_size=4)
    assert len(timm_family.build(arch).blocks) == 2


def test_looking_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    parsed("mobilenetv3_small_050")
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_name_gets_close_matches() -> None:
    with pytest.raises(ModelError, match=r"no timm architecture .* did you mean mobilevit_s"):
        parsed("mobilvit_s")
    with pytest.raises(ModelError, match=r"see timm\.list_models"):
        parsed("qqqqqqqq")


def test_edgekds_own_networks_are_close_matches_too() -> None:
    with pytest.raises(ModelError, match=r"'resent8': .* did you mean resnet8,"):
        parsed("resent8")
    with pytest.raises(ModelError) as raised:
        parsed("timm:resent8")  # asked of timm, which has none
    assert "resnet8," not in str(raised.value)


@pytest.mark.parametrize("name", ["hf-hub:someone/model", "local-dir:model", ""])
def test_other_sources_are_not_looked_at(name: str) -> None:
    with pytest.raises(ModelError, match="no timm architecture"):
        parsed(name)
    with pytest.raises(ModelError, match="no timm architecture"):
        arch = ArchSpec(family="timm", arguments={"name": name}, num_classes=5, in_channels=3)
        timm_family.build(arch)


def test_a_tag_names_weights() -> None:
    assert timm_family.known_name("resnet18.a1_in1k") == "resnet18.a1_in1k"
    with pytest.raises(ModelError, match=r"no weights of this tag; it has resnet18\.a1_in1k"):
        timm_family.known_name("resnet18.nobody")


@pytest.mark.parametrize(
    "option", ["checkpoint_path", "pretrained", "pretrained_cfg", "features_only", "cache_dir"]
)
def test_options_that_would_open_files_are_refused(option: str) -> None:
    with pytest.raises(ModelError, match=f"'{option}' is not an option of the architecture"):
        parsed("mobilenetv3_small_050", **{option: "x.pth"})


def test_an_option_the_architecture_does_not_have() -> None:
    with pytest.raises(ModelError, match=r"does not build with .*no_such"):
        parsed("mobilenetv3_small_050", no_such=1)


def test_a_size_the_architecture_cannot_take() -> None:
    with pytest.raises(ModelError, match=r"does not take 32x32 pixels .*for example 224"):
        parsed("efficientformer_l1")


def test_inner_widths_are_refused() -> None:
    arch = parsed("mobilenetv3_small_050").model_copy(update={"widths": (3,)})
    with pytest.raises(ModelError, match="inner widths cannot be set"):
        timm_family.build(arch)


def test_published_weights_that_do_not_exist() -> None:
    name = next(n for n in timm.list_models("vit_*") if not timm.get_pretrained_cfg(n).has_weights)
    arch = ArchSpec(family="timm", arguments={"name": name}, num_classes=5, in_channels=3)
    with pytest.raises(ModelError, match="has no published weights"):
        timm_family.build(arch, pretrained=True)


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", fail)
    arch = ArchSpec(family="timm", arguments={"name": "resnet18"}, num_classes=5, in_channels=3)
    with pytest.raises(ModelError, match=r"cannot be used \(no network\).*\.safetensors"):
        timm_family.build(arch, pretrained=True)


def test_published_preprocessing() -> None:
    mean, std, size = timm_family.timm_preprocess("timm:mobilevit_s")
    assert (mean, std, size) == ((0.0,) * 3, (1.0,) * 3, (256, 256))
    mean, std, size = timm_family.timm_preprocess("resnet18")
    assert mean == (0.485, 0.456, 0.406)
    assert std == (0.229, 0.224, 0.225)
