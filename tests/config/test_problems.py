import pytest

from edgekd.config import BenchRecipe, DataRecipe, TrainRecipe, build_recipe
from edgekd.errors import ConfigError, UsageError

NAMES = {
    "data": "--data",
    "num_threads": "--threads",
    "sustain_seconds": "--sustain",
    "device": "--device",
    "split": "--split",
    "test_folder": "--test-folder",
    "download": "--download",
    "qat_from": "--qat-from",
    "kd.temperature": "--temperature",
    "optimizer": "--optimizer",
    "epochs": "--epochs",
}


def refused(kind, flags, *, assignments=(), error=UsageError):
    with pytest.raises(error) as raised:
        build_recipe(kind, flags=flags, assignments=assignments, names=NAMES)
    return str(raised.value)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"num_threads": ["1", "0"]}, "--threads 0: should be at least 1"),
        ({"num_threads": ["two"]}, "--threads two: should be a whole number"),
        ({"sustain_seconds": "a minute"}, "--sustain 'a minute': should be a number"),
        ({"sustain_seconds": "100000"}, "--sustain 100000: should be at most 86400"),
        ({"device": ["a", "a"]}, "--device a,a: expected one or more devices, each once"),
        ({"split": ["0.2"]}, "--split 0.2: has too few values"),
        ({"split": ["1", "2", "3"]}, "--split 1,2,3: should be 2 values, found 3"),
        ({"download": "maybe"}, "--download maybe: should be true or false"),
        ({"num_threads": ["\x1b[2J"]}, r"--threads '\x1b[2J': should be a whole number"),
    ],
)
def test_a_flag_is_named_as_it_was_typed(flags, line):
    assert refused(BenchRecipe, flags) == line


def test_a_flag_in_a_table_and_its_words():
    said = refused(TrainRecipe, {"data": "d", "kd": {"temperature": "0"}, "optimizer": "adam"})
    assert said.splitlines() == [
        "flags: 2 problems",
        "  --optimizer adam: should be 'sgd' or 'adamw'",
        "  --temperature 0: should be more than 0",
    ]


def test_what_is_missing_is_a_flag_where_there_is_no_recipe():
    line = "--data: missing; give it as a flag or in a recipe"
    assert refused(DataRecipe, {}) == line
    said = refused(DataRecipe, {}, assignments=["max_bad_files=1"], error=ConfigError)
    assert said == f"command line: {line}"


def test_flags_that_do_not_fit_together():
    said = refused(DataRecipe, {"data": "d", "test_folder": "t"})
    assert said == "train_folder and --test-folder belong together; give both"


def test_a_flag_that_would_not_be_read():
    said = refused(TrainRecipe, {"data": "d", "qat_from": "0.5"})
    assert said == "--qat-from 0.5: without qat nothing is rounded; add --qat"


def test_an_assignment_speaks_of_the_recipe():
    said = refused(DataRecipe, {"data": "d"}, assignments=["max_bad_files=-1"], error=ConfigError)
    assert said == "command line: max_bad_files = -1: should be at least 0"


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("epocs=3", "epocs = 3: no such key; did you mean epochs"),
        ("lsskd.banch=copy", "lsskd.banch = 'copy': no such key; did you mean lsskd.branch"),
        ("lskd.branch=2", "lskd.branch = 2: no such key; did you mean lsskd.branch"),
        ("zzz=3", "zzz = 3: no such key; --print-recipe shows all there are"),
        ("lsskd=3", "lsskd = 3: should be a table; set the keys in it, as lsskd.KEY"),
        ("split=0.2", "split = 0.2: should be a list"),
        ("student=3", "student = 3: should be text"),
        ("epochs=2.5", "epochs = 2.5: should be a whole number"),
        ("pretrained=[1]", "pretrained = [1]: should be true or false"),
    ],
)
def test_keys_and_kinds_of_values_in_plain_words(assignment, line):
    said = refused(TrainRecipe, {"data": "d"}, assignments=[assignment], error=ConfigError)
    assert said == f"command line: {line}"


def test_without_names_everything_is_the_recipes():
    with pytest.raises(ConfigError, match="epochs = '0': should be at least 1"):
        build_recipe(TrainRecipe, flags={"data": "d", "epochs": "0"})
