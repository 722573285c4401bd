import pytest

from edgekd.config import TrainRecipe, build_recipe
from edgekd.errors import ConfigError

BASE = {"data": "d", "student": "resnet8"}


def build(*assignments, recipe=None, **flags):
    return build_recipe(
        TrainRecipe, recipe=recipe, assignments=assignments, flags={**BASE, **flags}
    )


@pytest.mark.parametrize(
    ("assignments", "flags", "words"),
    [
        (
            (),
            {"method": "kd", "cdd": {"target_macs": "0.35"}},
            "cdd.target_macs = '0.35': method kd does not read it; take it out, or use method cdd",
        ),
        (
            ("cdd.mask=magnitude", "cdd.target_params=0.3"),
            {"method": "none"},
            r"2 problem(s) in the recipe",
        ),
        (("kd.temperature=2",), {"method": "none"}, "or use method kd or cdd"),
        (("kd.kd_weight=0.5",), {}, "kd.kd_weight = 0.5: method none does not read it"),
        (
            (),
            {"method": "kd", "retrieval": {"embedding_dim": "64"}},
            "retrieval.embedding_dim = '64': task classification does not read it; take it out, "
            "or use task retrieval",
        ),
        (("retrieval.fit_weight=1",), {"method": "cdd", "task": "retrieval"}, "use method kd"),
        (("retrieval.kl_weight=1",), {"task": "retrieval"}, "method none does not read it"),
    ],
)
def test_what_is_typed_and_would_not_be_read_is_an_error(assignments, flags, words):
    with pytest.raises(ConfigError) as raised:
        build(*assignments, **flags)
    assert words in str(raised.value)
    assert str(raised.value).startswith("command line: ")


def test_a_key_is_complained_about_once():
    with pytest.raises(ConfigError, match="1 problem") as raised:
        build("retrieval.temperature=2")
    assert "use task retrieval" in str(raised.value)


@pytest.mark.parametrize("method", ["none", "kd", "cdd"])
def test_a_file_may_hold_what_other_methods_read(method, tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text("[kd]\ntemperature = 2.0\n[cdd]\ntarget_macs = 0.35\n")
    assert build(recipe=file, method=method).cdd.target_macs == 0.35


@pytest.mark.parametrize(
    ("assignments", "flags"),
    [
        (("kd.temperature=2", "cdd.target_macs=0.3"), {"method": "cdd"}),
        (("kd.temperature=2",), {"method": "kd"}),
        (("retrieval.embedding_dim=8", "retrieval.triplet_margin=0.1"), {"task": "retrieval"}),
        (("retrieval.fit_weight=1",), {"task": "retrieval", "method": "kd"}),
        (("cdd.fit_weight=1",), {"task": "retrieval", "method": "cdd"}),
    ],
)
def test_what_is_read_is_taken(assignments, flags):
    build(*assignments, **flags)
