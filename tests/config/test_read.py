import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.config import TrainRecipe, build_recipe, parse_assignments, read_recipe, to_toml
from edgekd.errors import ConfigError


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
        f"{path}: 3 problem(s) in the recipe",
        "  lr = -1: input should be greater than 0, or 'auto'",
        "  kd.temperature = 0: input should be greater than 0",
        "  kd.temprature = 1: no such key; check the spelling",
    ]


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_none(number):
    with pytest.raises(ConfigError, match="1 problem"):
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
