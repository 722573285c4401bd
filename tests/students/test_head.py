import pytest
import torch
from torch import nn

from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost
from edgekd.students.head import (
    EmbeddingNetwork,
    IdentityNetwork,
    backbone_of,
    deployed_answer,
    head_tensors,
    with_classifier,
)


def embedding_arch(name="resnet8", options=None, size=8, **changes):
    plan = {"num_classes": 5, "in_channels": 3, "input_size": (size, size), "embedding_dim": 6}
    return parse_student(name, {"width": 4} if options is None else options, **(plan | changes))


def test_the_head_by_hand():
    # Fresh norms in eval mode divide by sqrt(1 + 1e-5); the features are 1 and -2.
    network = EmbeddingNetwork(nn.Flatten(), num_features=2, embedding_dim=1).eval()
    with torch.no_grad():
        network.head[2].weight.copy_(torch.tensor([[3.0, 5.0]]))
        found = network(torch.tensor([[1.0, -2.0]]))
    assert found.item() == pytest.approx(3 * 1 / (1 + 1e-5))  # the negative one is cut off


def test_training_sees_features_embedding_and_logits():
    torch.manual_seed(0)
    network = build_student(embedding_arch())
    full = IdentityNetwork(network, 5).eval()
    x = torch.randn(2, 3, 8, 8)
    output = full(x)
    assert [tuple(part.shape) for part in output] == [(2, 16), (2, 6), (2, 5)]
    assert torch.equal(output.features, network.backbone(x))
    assert torch.equal(output.embedding, network(x))
    torch.testing.assert_close(output.logits, network(x) @ full.classifier.weight.T)
    assert torch.equal(deployed_answer(output), network(x))
    assert torch.equal(deployed_answer(output.logits), output.logits)


def test_the_deployed_network_holds_no_classifier_of_any_kind():
    arch = embedding_arch(num_classes=1000)
    names = build_student(arch).state_dict()
    assert not any("classifier" in name or ".fc." in name for name in names)
    assert all(1000 not in tensor.shape for tensor in names.values())
    assert (arch.output_name, arch.output_size) == ("embedding", 6)


def test_the_cost_of_the_published_network():
    # Capacity Dynamic Distillation's ResNet-101 at 256 x 256: 43.55 M parameters, 12.96 GMACs.
    arch = embedding_arch("resnet101", {"last_stride": 1}, size=256, embedding_dim=512)
    with torch.device("meta"):
        network = build_student(arch)
        cost = count_cost(network, [(3, 256, 256)])
    # 42,500,160 of a ResNet-101 without its classifier, two norms and 2048 x 512
    assert cost.num_params == 42_500_160 + 2 * 2048 + 2048 * 512 + 2 * 512
    assert round(cost.num_params / 1e6, 2) == 43.55
    assert round(cost.macs / 1e9, 2) == 12.96


@pytest.mark.parametrize(
    ("name", "width"),
    [("timm:resnet10t", 512), ("timm:mobilenetv3_small_050", 1024)],  # 1024: widened after pooling
)
def test_a_timm_network_is_a_backbone_with_its_pooled_features(name, width):
    arch = embedding_arch(name, {}, size=32)
    network = build_student(arch).eval()
    assert network.head[0].num_features == width
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 6)


def test_the_backbone_is_found_inside_any_wrapper():
    network = build_student(embedding_arch())
    wrapped = nn.Sequential(IdentityNetwork(network, 5))
    assert backbone_of(wrapped) is backbone_of(network) is network.backbone
    plain = nn.Linear(2, 2)
    assert backbone_of(plain) is plain


def test_the_classifier_goes_into_a_file_and_comes_back():
    network = build_student(embedding_arch())
    full = IdentityNetwork(network, 5)
    again = with_classifier(network, head_tensors(full))
    assert torch.equal(again.classifier.weight, full.classifier.weight)
    for wrong in ({}, {"weight": torch.zeros(5, 7)}, {"bias": torch.zeros(5)}):
        with pytest.raises(ValueError, match=r"expected weight \(K, 6\)"):
            with_classifier(network, wrong)
