import pytest
import timm
import torch
from torch import nn

from edgekd.students.count import Cost, count_cost


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        # out * in * kernel * positions
        (nn.Conv2d(16, 32, 3, padding=1), (16, 8, 8), 16 * 32 * 9 * 64),
        # stride 2 without padding on 9 x 9: (9 - 3) / 2 + 1 = 4 positions per axis
        (nn.Conv2d(16, 32, 3, stride=2), (16, 9, 9), 16 * 32 * 9 * 16),
        # dilation 2 spans 5 pixels: 8 - 5 + 1 = 4 positions per axis
        (nn.Conv2d(4, 4, 3, dilation=2), (4, 8, 8), 4 * 4 * 9 * 16),
        # each of 4 groups sees 4 of 16 input channels
        (nn.Conv2d(16, 32, 3, padding=1, groups=4), (16, 8, 8), 4 * 32 * 9 * 64),
        (nn.Conv2d(16, 16, (1, 3), padding=(0, 1), groups=16), (16, 8, 8), 16 * 3 * 64),
        (nn.Conv1d(6, 8, 5, padding=2), (6, 20), 6 * 8 * 5 * 20),
        # transposed: the kernel meets every input position, whatever the stride
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5), 4 * 6 * 9 * 25),
        (nn.Linear(5, 7), (5,), 35),
        (nn.Linear(5, 7, bias=False), (3, 5), 3 * 35),
        # LSTM: 4 gates; GRU: 3 gates; T = 5 steps of 4 features into 8
        (nn.LSTM(4, 8, batch_first=True), (5, 4), 5 * 4 * 8 * (4 + 8)),
        (nn.GRU(4, 8, batch_first=True), (5, 4), 5 * 3 * 8 * (4 + 8)),
    ],
)
def test_closed_forms(module: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    cost = count_cost(module, [shape])
    assert (cost.macs, cost.uncounted_operators) == (macs, ())


def test_operators_between_the_products_cost_nothing() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Hardswish(), nn.MaxPool2d(2), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 2), nn.Softmax(-1),
    )  # fmt: skip
    params = (3 * 4 + 4) + (4 + 4) + (4 * 2 + 2)  # running mean and variance are buffers
    expected = Cost(num_params=params, macs=3 * 4 * 64 + 4 * 2, uncounted_operators=())
    assert count_cost(module, [(3, 8, 8)]) == expected


def test_matrix_products_of_activations() -> None:
    class Products(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # (1, 6, 4)
            scores = torch.einsum("bid,bjd->bij", x, x)  # 6 * 6 * 4
            summed = torch.baddbmm(x, scores, x)  # 6 * 6 * 4
            return torch.mv(summed[0], summed[0, 0])  # 6 * 4

    assert count_cost(Products(), [(6, 4)]).macs == 144 + 144 + 24


@pytest.mark.parametrize("num_key_heads", [2, 1])
def test_fused_attention_counts_scores_and_values(num_key_heads: int) -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # (1, 2, 6, 4)
            key = x[:, :num_key_heads]
            return nn.functional.scaled_dot_product_attention(x, key, key, enable_gqa=True)

    cost = count_cost(Attention(), [(2, 6, 4)])
    assert (cost.macs, cost.uncounted_operators) == (2 * 6 * 6 * (4 + 4), ())


def test_encoder_layer_is_counted_although_torch_has_one_operator_for_it() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    # query, key, value; output projection; scores and values; two feed-forward products
    macs = 5 * 16 * 48 + 5 * 16 * 16 + 2 * 5 * 5 * 16 + 2 * 5 * 16 * 32
    cost = count_cost(layer, [(5, 16)])
    assert (cost.macs, cost.uncounted_operators) == (macs, ())


def test_an_operator_without_a_formula_is_reported() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cdist(torch.fft.rfft(x).real, x[..., :3])

    assert count_cost(Spectrum(), [(4, 4)]).uncounted_operators == (
        "aten::_cdist_forward",
        "aten::_fft_r2c",
    )


def test_two_inputs_and_shared_parameters() -> None:
    class Twin(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = nn.Linear(3, 2, bias=False)
            self.right = self.left

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.left(a) + self.right(b)

    assert count_cost(Twin(), [(3,), (3,)]) == Cost(num_params=6, macs=12, uncounted_operators=())


def test_flags_and_statistics_are_as_before_also_after_a_failure() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3))
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.inference_mode():
        assert count_cost(module, [(3, 4, 4)]).macs == 3 * 4 * 9 * 4
    with pytest.raises(RuntimeError):
        count_cost(module, [(5, 4, 4)])
    assert [part.training for part in module] == [True, False]
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "size", "params", "macs"),
    [
        ("resnet18", 224, 11_689_512, 1_814_073_344),
        ("mobilevit_s", 256, 5_578_632, None),
    ],
)
def test_published_networks(name: str, size: int, params: int, macs: int | None) -> None:
    cost = count_cost(timm.create_model(name), [(3, size, size)])
    assert (cost.num_params, cost.uncounted_operators) == (params, ())
    assert macs is None or cost.macs == macs


def test_mobilevit_without_its_classifier() -> None:
    module = timm.create_model("mobilevit_s", num_classes=0)
    assert count_cost(module, [(3, 256, 256)]).num_params == 4_937_632


def test_vision_transformer_by_hand() -> None:
    tokens, width, depth = 14 * 14 + 1, 192, 12
    block = tokens * width * (3 * width + width + 2 * 4 * width) + 2 * tokens * tokens * width
    macs = 196 * width * 3 * 16 * 16 + depth * block + width * 1000
    cost = count_cost(timm.create_model("vit_tiny_patch16_224"), [(3, 224, 224)])
    assert (cost.macs, cost.uncounted_operators) == (macs, ())
