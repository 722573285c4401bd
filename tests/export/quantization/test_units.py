from edgekd.export.quantization.units import Unit, prefer

UNITS = [
    Unit(name="conv", kind="Conv", choices=("static", "weights")),
    Unit(name="linear", kind="MatMul", choices=("static", "dynamic", "weights")),
    Unit(name="sum", kind="Add", choices=("static", "float")),
]


def test_float_is_the_last_choice():
    assert [unit.as_float for unit in UNITS] == ["weights", "weights", "float"]
    assert [unit.is_product for unit in UNITS] == [True, True, False]


def test_preferences_fall_back_to_float():
    assert prefer(UNITS, "static") == {"conv": "static", "linear": "static", "sum": "static"}
    assert prefer(UNITS, "dynamic") == {"conv": "weights", "linear": "dynamic", "sum": "float"}
    assert prefer(UNITS, "dynamic", "static", products_only=True) == {
        "conv": "static", "linear": "dynamic", "sum": "float"
    }  # fmt: skip
    assert prefer(UNITS) == {"conv": "weights", "linear": "weights", "sum": "float"}
