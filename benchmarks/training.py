"""A training that a driver needs: a recipe, what differs from it, and the folder it fills."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmarks.commands import bundle, edgekd, is_finished, without_places
from edgekd.config import SettledRecipe, TrainRecipe, build_recipe

CHANGE_NO_RESULT = {"num_threads", "checkpoint_minutes"}


@dataclass(frozen=True)
class Training:
    """One ``edgekd distill`` that resumes."""

    file: Path
    """The recipe."""
    settings: Mapping[str, object]
    """Dotted keys of the recipe that differ from the file."""
    folder: Path

    def run(self) -> dict:
        """Train to the end, unless that is done; the finished run's record.

        Raises:
            SystemExit: See :meth:`check`.
        """
        self.check()
        if not is_finished(self.folder):
            sets = [part for text in self.assignments() for part in ("--set", text)]
            edgekd("distill", "--recipe", self.file, *sets, "--resume", "-o", self.folder)
        return bundle(self.folder)

    def check(self) -> None:
        """Refuse a finished run of another recipe: it is no result of this one.

        Raises:
            SystemExit: If the folder holds one; it says what differs.
        """
        differing = self.differences(bundle(self.folder)) if is_finished(self.folder) else []
        if differing:
            raise SystemExit(
                f"{self.folder}: finished with another recipe ({'; '.join(differing)}); give "
                "another --runs, or delete the folder"
            )

    def differences(self, record: Mapping) -> list[str]:
        """What the recipe of a finished run has otherwise; empty if it is a run of this one.

        Args:
            record: Its bundle's, or a row of published results, which tells files outside the
                project by their names.
        """
        provenance = record["provenance"]
        wanted = build_recipe(TrainRecipe, recipe=self.file, assignments=self.assignments())
        settled = wanted.settled(provenance["data"]["num_samples"]["train"])
        now, before = (
            dict(_leaves(without_places(recipe)))
            for recipe in (settled.model_dump(mode="json"), _completed(provenance["recipe"]))
        )
        differing = sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k))
        return [f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in differing]

    def assignments(self) -> list[str]:
        """The settings as ``--set`` takes them."""
        return [f"{key}={_text(value)}" for key, value in self.settings.items()]


def described(settings: Mapping[str, object]) -> str:
    """What differs from a recipe, for the caption of a table."""
    return ", ".join(f"`{key}` {_text(value)}" for key, value in settings.items())


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | Path) else json.dumps(value)


def _leaves(table: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        elif path or key not in CHANGE_NO_RESULT:
            yield f"{path}{key}", value


def _completed(recipe: Mapping[str, object]) -> Mapping[str, object]:
    """A recorded recipe with the defaults of fields that the version of then did not know."""
    try:
        return SettledRecipe.model_validate_json(json.dumps(recipe)).model_dump(mode="json")
    except ValidationError:  # it holds what this version does not know: that is a difference
        return recipe
