import pytest
from pydantic import ValidationError

from edgekd.records import DeviceInfo, ImageInput, Measurement, Metric, Preprocess, SignalInput

DEVICE = DeviceInfo(
    name="local",
    board=None,
    cpu=None,
    arch="x86_64",
    os=None,
    kernel=None,
    python="3.11",
    cpu_count=2,
    memory_bytes=None,
    governor=None,
    frequency_mhz=None,
    temperature_c=None,
    throttled=None,
    load_average=None,
)


def measurement(latencies_ns):
    return Measurement(
        file="student.onnx",
        model_sha256="0",
        source_sha256=None,
        format="onnx",
        precision="fp32",
        device="local",
        device_info=DEVICE,
        runtime="onnxruntime",
        num_threads=1,
        batch_size=1,
        num_warmup=0,
        latencies_ns=tuple(latencies_ns),
        encode_ns=None,
        decode_ns=0,
        load_ns=2_000_000,
        first_invoke_ns=500_000,
        baseline_rss_bytes=0,
        peak_rss_bytes=0,
        size_bytes=1,
        metric=None,
        created="",
    )


def test_a_percentile_is_interpolated_between_its_neighbours():
    # Positions 0..4; the 90th percentile lies at 3.6, six tenths of the way from 40 to 50.
    found = measurement(value * 1_000_000 for value in (50, 10, 40, 20, 30)).percentile_ms(50)
    assert found == 30
    ten = measurement(value * 1_000_000 for value in range(1, 11))
    assert ten.percentile_ms(90) == pytest.approx(9.1)  # position 8.1 between 9 and 10


@pytest.mark.parametrize(("calls", "known"), [(99, False), (100, True)])
def test_the_99th_percentile_needs_100_calls(calls, known):
    assert (measurement(range(1, calls + 1)).percentile_ms(99) is not None) is known


@pytest.mark.parametrize("q", [-1, 100])
def test_a_percentile_outside_the_scale_is_a_mistake_of_the_caller(q):
    with pytest.raises(ValueError, match=r"q must be in \[0, 100\)"):
        measurement([1]).percentile_ms(q)


def test_cold_start_is_load_plus_first_inference():
    assert measurement([1]).cold_start_ms == 2.5


def test_spread_is_the_interquartile_range_over_the_median():
    assert measurement([10, 20, 30, 40, 50]).spread == pytest.approx((40 - 20) / 30)
    assert measurement([7] * 9).spread == 0


def image(**changes):
    return ImageInput(
        **{"channels": 3, "height": 8, "width": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3} | changes
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (0.0,)},
        {"std": (1.0, 1.0, 0.0)},
        {"mean": (float("nan"),) * 3},
        {"height": 0},
        {"height": "8"},  # no silent conversion
        {"colour": "red"},  # no unknown field
    ],
)
def test_an_input_that_cannot_be_is_refused(changes):
    with pytest.raises(ValidationError):
        image(**changes)


def test_a_record_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        image().height = 9


def test_the_single_image_of_a_model_with_other_inputs_is_a_mistake():
    vector = SignalInput(name="acc", channels=1, length=5, mean=(0.0,), std=(1.0,))
    assert Preprocess(inputs=(image(),)).image.height == 8
    with pytest.raises(ValueError, match=r"expected one image input, found .*acc"):
        _ = Preprocess(inputs=(image(), vector)).image


def test_a_metric_has_samples():
    with pytest.raises(ValidationError):
        Metric(name="top1", value=0.5, split="test", num_samples=0)
