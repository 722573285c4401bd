import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.config import TrainRecipe, build_recipe, parse_assignments, read_recipe, to_toml
from edgekd.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("epochs=3", {"epochs": 3}),
        ("kd.temperature=2.5", {"kd": {"temperature": 2.5}}),
        ("student=resnet8", {"student": "resnet8"}),  # no quotes needed
        ('student="8"', {"student": "8"}),  # quotes keep a number text
        ("data=a=b", {"data": "a=b"}),
        ("split=[0.2, 0.3]", {"split": [0.2, 0.3]}),
        ("data=", {"data": ""}),
    ],
)
def test_assignments_are_read_as_toml_where_they_are(assignment, expected):
    assert parse_assignments([assignment]) == expected


@pytest.mark.parametrize("assignment", ["epochs", "=3", " =3"])
def test_an_assignment_without_key_or_value(assignment):
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_assignments([assignment])


def test_a_table_below_a_plain_value():
    with pytest.raises(ConfigError, match="kd was already set to a plain value"):
        parse_assignments(["kd=1", "kd.temperature=2"])


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"epochs = = 3", "line 1"), (b"\xff\xfe", "not a TOML file"), (b"#" * (2 << 20), "1 MiB")],
)
def test_a_file_that_is_no_recipe(content, words, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_recipe(path)


def test_a_recipe_that_is_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path)


def test_problems_name_file_key_value_and_what_is_allowed(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('data = "d"\nstudent = "s"\nlr = -1\n[kd]\ntemperature = 0\ntemprature = 1\n')
    with pytest.raises(ConfigError) as caught:
        build_recipe(TrainRecipe, recipe=path)
    assert str(caught.value).splitlines() == [
        f"{path}: 3 problems in the recipe",
        "  lr = -1: should be more than 0, or 'auto'",
        "  kd.temperature = 0: should be more than 0",
        "  kd.temprature = 1: no such key; did you mean kd.temperature",
    ]


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_none(number):
    with pytest.raises(ConfigError, match="should be"):
        build_recipe(TrainRecipe, assignments=["data=d", "student=s", f"lr={number}"])


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=50, deadline=None)
@given(
    data=words,
    options=st.dictionaries(
        words.filter(bool), st.one_of(st.integers(-9, 9), words, st.booleans())
    ),
    lr=st.floats(1e-30, 100),
    weights=st.none() | st.just(Path("a b/c.safetensors")),
)
def test_a_written_recipe_reads_back_as_it_was(data, options, lr, weights):
    recipe = TrainRecipe(
        data=data, student="resnet8", student_options=options, lr=lr, weights=weights
    )
    assert TrainRecipe.model_validate(tomllib.loads(to_toml(recipe))) == recipe


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
            "command line: 2 problems",
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
        (
            ("kd.temperature=2",),
            {"method": "lsskd"},
            "kd.temperature = 2: read beside a teacher only; take it out, or give --teacher (the "
            "branches have lsskd.temperature)",
        ),
        (("lsskd.teacher_weight=2",), {"method": "lsskd"}, "beside a teacher only"),
        (
            ("kd.kd_weight=0.5",),
            {"method": "lsskd", "teacher": "t"},
            "method lsskd does not read it; take it out, or use method kd or cdd",
        ),
        (
            ("soft_labels.ema_decay=0.9",),
            {"method": "ps-kd"},
            "soft_labels.source auto averages nothing; take it out, or use source ema",
        ),
        (("soft_labels.ema_decay=0.9",), {"method": "kd"}, "use method ps-kd or lsskd"),
    ],
)
def test_what_is_typed_and_would_not_be_read_is_an_error(assignments, flags, words):
    with pytest.raises(ConfigError) as raised:
        build(*assignments, **flags)
    assert words in str(raised.value)
    assert str(raised.value).startswith("command line: ")


def test_a_key_is_complained_about_once():
    with pytest.raises(ConfigError) as raised:
        build("retrieval.temperature=2")
    assert "use task retrieval" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


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


def test_the_file_is_to_blame_for_what_a_flag_did_not_replace(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text('data = "d"\nepochs = 0\nlr = 0.1\n')
    names = {"epochs": "--epochs", "lr": "--lr"}
    with pytest.raises(ConfigError) as raised:
        build_recipe(TrainRecipe, recipe=file, flags={"lr": "-1"}, names=names)
    assert str(raised.value).splitlines() == [
        f"{file}: 2 problems in the recipe",
        "  epochs = 0: should be at least 1",
        "  --lr -1: should be more than 0, or 'auto'",
    ]
    with pytest.raises(UsageError, match=r"^--epochs 0: should be at least 1$"):
        build_recipe(TrainRecipe, recipe=file, flags={"epochs": "0"}, names=names)
