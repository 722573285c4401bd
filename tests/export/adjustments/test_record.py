import pytest
from pydantic import ValidationError

from edgekd.export.adjustments.record import AS_IT_IS, Adjustments, BiasShift, ChannelScaling

SCALING = ChannelScaling(
    kind="equalization", divided=("a.weight",), multiplied=("b.weight",), eighths=(8, -8)
)
SHIFT = BiasShift(parameter="a.bias", step=0.5, levels=(1, -2))


def test_nothing_changed_is_false():
    assert not AS_IT_IS
    assert Adjustments(scalings=(SCALING,))
    assert Adjustments(shifts=(SHIFT,))


def test_a_record_survives_json():
    record = Adjustments(scalings=(SCALING,), shifts=(SHIFT,))
    assert Adjustments.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("eighths", [(57, 0), (0, -57), ()])
def test_a_factor_beyond_128_either_way_is_refused(eighths):
    with pytest.raises(ValidationError):
        ChannelScaling(kind="smoothing", divided=("a",), multiplied=("b",), eighths=eighths)


def test_levels_are_those_of_a_byte():
    with pytest.raises(ValidationError):
        BiasShift(parameter="a", step=1.0, levels=(128,))
