"""CSV manifests: a table of image files with labels and, optionally, splits and identities.

The header names the columns: ``path`` and ``label`` (or ``identity`` in its place) are needed;
``split``, ``identity``, ``camera``, ``role`` and any column that ``recipe.group`` names are
optional. A ``role`` is ``query``, ``gallery`` or ``both``: who asks in retrieval, and who is
searched through; training looks at no role. Paths are relative to the manifest and stay inside its
folder.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.dataset import Contents, Indices
from edgekd.data.files import FileImages, check_files, printable
from edgekd.data.roles import ROLES, Roles
from edgekd.data.splits import SPLIT_SPELLINGS
from edgekd.data.store import FolderStore
from edgekd.errors import DataError

_MAX_BYTES: Final = 1 << 30
_SHOWN: Final = 20

Row = dict[str, str]


def open_manifest(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open a CSV manifest.

    Raises:
        DataError: With every problem of the manifest and its line, or if too many images are
            unreadable.
    """
    group = recipe.group.lower() if recipe.group else None
    rows = read_manifest(path, group=group)
    names = tuple(row["path"] for row in rows)
    store = FolderStore(path.parent, names)
    files = check_files(store, names, max_bad_files=recipe.max_bad_files, console=console)
    kept = [rows[i] for i in files.positions]
    class_names, labels = _codes(rows, "label" if "label" in rows[0] else "identity")
    return Contents(
        kind="image",
        reader=FileImages(store, files.names),
        names=files.names,
        labels=labels[files.positions],
        class_names=class_names,
        digests=files.digests,
        given_splits=(
            tuple(SPLIT_SPELLINGS[row["split"].lower()] for row in kept)
            if "split" in rows[0]
            else None
        ),
        groups=tuple(row[group] for row in kept) if group else None,
        sizes=files.sizes,
        identities=_optional(rows, "identity", files.positions),
        identity_names=_codes(rows, "identity")[0] if "identity" in rows[0] else (),
        cameras=_optional(rows, "camera", files.positions),
        roles=Roles.of([row["role"].lower() for row in kept]) if "role" in rows[0] else None,
        skipped=files.skipped,
    )


def read_manifest(path: Path, *, group: str | None = None) -> list[Row]:
    """Rows of a manifest, stripped, checked, with columns in lower case.

    Raises:
        DataError: With every problem and its line number (the first 20 are shown).
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: larger than {_MAX_BYTES >> 30} GiB; not a manifest")
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _checked(file, path, group)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error


def _checked(lines: Iterable[str], path: Path, group: str | None) -> list[Row]:
    reader = csv.reader(lines, strict=True)
    rows: list[Row] = []
    problems: list[str] = []
    checker: _RowChecker | None = None
    try:
        for cells in reader:
            if checker is None:
                checker = _RowChecker(_header(cells, path, group), path.parent)
            elif any(cell.strip() for cell in cells):
                row, found = checker.check(cells, reader.line_num)
                rows.append(row)
                problems += [f"line {reader.line_num}: {problem}" for problem in found]
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        shown = "\n  ".join([*map(printable, problems[:_SHOWN]), *more])
        if len(problems) == 1:
            raise DataError(f"{path}: {shown}; mend it in the manifest")
        raise DataError(f"{path}: {len(problems)} problems in the manifest\n  {shown}")
    if not rows:
        raise DataError(f"{path}: no rows; expected a header and one line per image")
    return rows


def _header(cells: Sequence[str], path: Path, group: str | None) -> tuple[str, ...]:
    header = tuple(cell.strip().lower() for cell in cells)
    wanted = ["path", *([group] if group else [])]
    missing = [column for column in wanted if column not in header]
    if "label" not in header and "identity" not in header:
        missing.append("label")
    if missing or len(set(header)) != len(header):
        problem = f"no column {', '.join(missing)}" if missing else "a column is named twice"
        raise DataError(
            f"{path}: line 1: {problem}; found {printable(', '.join(header))}, "
            "expected path,label and optionally split,identity,camera,role"
        )
    return header


class _RowChecker:
    """Checks row after row against the header, the folder, and the rows before."""

    def __init__(self, header: tuple[str, ...], folder: Path) -> None:
        self._header = header
        self._folder = folder
        self._root = folder.resolve()
        self._line_of: dict[str, int] = {}

    def check(self, cells: Sequence[str], line: int) -> tuple[Row, list[str]]:
        if len(cells) != len(self._header):
            return {}, [f"{len(cells)} cells, the header has {len(self._header)}"]
        row = {name: cell.strip() for name, cell in zip(self._header, cells, strict=True)}
        problems = [f"{name} is empty" for name in self._header if not row[name]]
        if row["path"]:
            problems += self._check_path(row["path"], line)
        split = row.get("split")
        if split and split.lower() not in SPLIT_SPELLINGS:
            problems.append(f"split {split!r}; expected train, val or test")
        role = row.get("role")
        if role and role.lower() not in ROLES:
            problems.append(f"role {role!r}; expected query, gallery or both")
        return row, problems

    def _check_path(self, name: str, line: int) -> list[str]:
        first = self._line_of.setdefault(name, line)
        if first != line:
            return [f"{name} is already on line {first}"]
        try:
            target = (self._folder / name).resolve()
            if not target.is_relative_to(self._root):
                return [f"{name} is outside the manifest's folder"]
            return [] if target.is_file() else [f"{name} is no file"]
        except (OSError, ValueError, RuntimeError) as error:  # a NUL, a loop of links
            return [f"{name!r} is no path ({error})"]


def _codes(rows: Sequence[Row], column: str) -> tuple[tuple[str, ...], Indices]:
    values, codes = np.unique(np.array([row[column] for row in rows], object), return_inverse=True)
    return tuple(str(value) for value in values), codes.astype(np.int64)


def _optional(rows: Sequence[Row], column: str, positions: Indices) -> Indices | None:
    return _codes(rows, column)[1][positions] if column in rows[0] else None
