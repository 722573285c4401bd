import tomllib
from pathlib import Path
from typing import get_args

import click
import pytest
from click.testing import CliRunner

from edgekd.cli.main import main_inner
from edgekd.cli.options import Flag, takes_recipe
from edgekd.config import BenchRecipe, MethodName, TrainRecipe

FLAGS = (
    Flag("data", ("--data",), "Data."),
    Flag("student", ("--model",), "Model."),
    Flag("method", ("--method",), "Method.", required=True),
    Flag("epochs", ("--epochs",), "Epochs."),
    Flag("split", ("--split",), "Split."),
    Flag("download", ("--download",), "Download."),
    Flag("augment.flip", ("--flip",), "Flip."),
    Flag("kd.temperature", ("--temperature",), "Temperature."),
)


@pytest.fixture
def parse():
    """The recipe a command line leads to, through a command of its own."""
    seen: list[TrainRecipe] = []

    @click.command()
    @click.option("-o", "output", type=click.Path(path_type=Path))
    @click.option("--resume", is_flag=True)
    @takes_recipe(TrainRecipe, FLAGS)
    def command(*, recipe: TrainRecipe, output: Path | None, resume: bool) -> None:
        seen.append(recipe)

    def run(*arguments: str) -> TrainRecipe:
        command.main(list(arguments), standalone_mode=False)
        return seen[-1]

    run.command = command
    return run


def test_set_and_flags_win_over_the_file(parse, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'data = "file"\nmodel = "file"\nepochs = 1\nlr = 0.5\n'
        "[kd]\ntemperature = 1.0\nkd_weight = 0.1\n"
    )
    result = parse(
        "--recipe", str(recipe),
        "--set", "kd.temperature=2", "--set", "data=set",
        "--epochs", "3", "--model", "flag", "--method", "kd",
    )  # fmt: skip
    assert result.lr == 0.5  # only in the file
    assert result.kd.kd_weight == 0.1  # its neighbour in the table was set, it was not
    assert result.kd.temperature == 2.0  # --set over file
    assert result.data == "set"
    assert result.epochs == 3  # flag over file
    assert result.student == "flag"  # under the file's other spelling of the key


def test_a_flag_and_set_that_say_the_same_are_refused(capsys):
    both = ["--epochs", "1", "--set", "epochs=two"]
    assert main_inner(["teach", "--data", "d", "--model", "m", "-o", "x", *both]) == 2
    said = "edgekd: error: --epochs and --set epochs=two set the same; give one of them\n"
    assert capsys.readouterr().err == said


def test_values_are_what_the_recipe_says_not_text(parse):
    result = parse(
        "--data", "d", "--model", "m", "--split", "0.2,0.3", "--no-flip", "--download",
        "--temperature", "2.5", "--method", "kd",
    )  # fmt: skip
    assert result.split == (0.2, 0.3)
    assert result.augment.flip is False
    assert result.download is True
    assert result.kd.temperature == 2.5


def test_a_flag_that_is_not_given_does_not_undo_the_recipe(parse, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('data = "d"\nstudent = "m"\ndownload = true\nsplit = [0.2, 0.2]\n')
    result = parse("--recipe", str(recipe))
    assert result.download is True
    assert result.split == (0.2, 0.2)
    assert "epochs" not in result.model_fields_set
    assert parse("--recipe", str(recipe), "--no-download").download is False


def test_every_problem_is_reported_at_once(capsys):
    arguments = ["--epochs", "0", "--batch-size", "many", "--set", "learning_rate=1", "-o", "x"]
    assert main_inner(["teach", *arguments]) == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [
        "edgekd: error: command line: 4 problems",
        "  --data: missing; give it as a flag or in a recipe",
        "  --epochs 0: should be at least 1",
        "  --batch-size many: should be a whole number, or 'auto'",
        "  learning_rate = 1: no such key; --print-recipe shows all there are",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "absent.toml"], "absent.toml: cannot be read"),
        (["--set", "epochs"], "--set epochs: expected key=value"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_exit_code_3(arguments, words, capsys):
    assert main_inner(["teach", "-o", "x", *arguments]) == 3
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--epochs", "0", "--data", "d"], "--epochs 0: should be at least 1"),
        ([], "--data: missing; give it as a flag or in a recipe"),
    ],
)
def test_a_flag_that_is_wrong_is_exit_code_2_in_one_line(arguments, line, capsys):
    assert main_inner(["teach", "-o", "x", *arguments]) == 2
    assert capsys.readouterr().err == f"edgekd: error: {line}\n"


def test_print_recipe_prints_a_recipe_that_reads_back(capsys):
    flags = ["--data", 'a "quoted" \\ päth', "--model", "resnet8", "--epochs", "7"]
    sets = ["--set", "student_options.width=8", "--set", "student_options.a b=[1, 2]"]
    assert main_inner(["teach", "-o", "x", *flags, *sets, "--print-recipe"]) == 0
    fields = tomllib.loads(capsys.readouterr().out)
    assert fields["data"] == 'a "quoted" \\ päth'
    assert fields["student_options"] == {"width": 8, "a b": [1, 2]}
    assert fields["epochs"] == 7
    assert (
        TrainRecipe.model_validate(fields).batch_size
        == TrainRecipe.model_fields["batch_size"].get_default()
    )


def test_help_shows_the_recipes_defaults_and_words(parse):
    text = CliRunner().invoke(parse.command, ["--help"]).output
    assert "--epochs INTEGER" in text
    assert "Epochs.  [default: 30]" in text
    assert "[default: 0.15,0.15]" in text
    assert "--download / --no-download" in text
    assert "[default: off]" in text
    assert f"--method [{'|'.join(get_args(MethodName))}]" in text
    assert "Method.  [required without --resume]" in text  # the command's word over the recipe's
    assert "Data.  [required without --resume]" in text


def test_help_of_a_command_that_cannot_resume_says_what_it_always_needs():
    @click.command()
    @takes_recipe(TrainRecipe, FLAGS)
    def command(*, recipe: TrainRecipe) -> None: ...

    text = CliRunner().invoke(command, ["--help"]).output
    assert "Method.  [required]" in text
    assert "Data.  [required]" in text


def test_a_resumed_run_takes_the_recipe_of_its_folder(parse, tmp_path):
    (tmp_path / "recipe.toml").write_text('data = "d"\nstudent = "m"\nepochs = 9\n')
    assert parse("-o", str(tmp_path), "--resume").epochs == 9
    assert parse("-o", str(tmp_path), "--resume", "--epochs", "4").epochs == 4
    with pytest.raises(Exception, match="data: missing"):
        parse("-o", str(tmp_path))  # not resumed: an old run must not decide a new one


def test_resuming_where_there_is_no_run_says_so(tmp_path, capsys):
    assert main_inner(["distill", "--resume", "-o", str(tmp_path / "tpyo")]) == 2
    line = f"{tmp_path}/tpyo: holds no run to resume; check the name, or give --data and the other"
    assert line in capsys.readouterr().err


def test_a_repeatable_flag_takes_repetitions_and_commas():
    seen: list[BenchRecipe] = []

    @click.command()
    @takes_recipe(BenchRecipe, [Flag("num_threads", ("--threads",), "Threads.")])
    def command(*, recipe: BenchRecipe) -> None:
        seen.append(recipe)

    command.main(["--threads", "1,2", "--threads", "4"], standalone_mode=False)
    command.main([], standalone_mode=False)
    assert [recipe.num_threads for recipe in seen] == [(1, 2, 4), (1,)]
