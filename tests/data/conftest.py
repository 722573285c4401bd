"""Tiny images, folders and zips made on the spot."""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording_console import RecordingConsole

from edgekd.config import DataRecipe


@pytest.fixture
def console() -> RecordingConsole:
    return RecordingConsole()


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """A flat PNG; the seed makes its content distinct without changing what it looks like."""

    def make(colour=(0, 0, 0), size=(4, 4), seed: int | None = None, mode="RGB") -> bytes:
        image = Image.new(mode, size, colour)
        if seed is not None:
            image.putpixel((0, 0), (seed % 256, seed // 256, 7))
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    return make


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    def make(files: Mapping[str, bytes], name: str = "folder") -> Path:
        root = tmp_path / name
        root.mkdir()
        for file, content in files.items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return root

    return make


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[..., Path]:
    def make(files: Mapping[str, bytes], name: str = "a.zip", method=zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", method) as archive:
            for file, content in files.items():
                archive.writestr(file, content)
        return path

    return make


@pytest.fixture
def class_files(png) -> Callable[..., dict[str, bytes]]:
    """``count`` distinct images in each class folder below ``top``."""

    def make(count: int, top: str = "", classes=("cat", "dog"), start: int = 0) -> dict[str, bytes]:
        return {
            f"{top}{name}/{i}.png": png((0, 100, 200), seed=start + 256 * (k + 1) + i)
            for k, name in enumerate(classes)
            for i in range(count)
        }

    return make


@pytest.fixture
def recipe() -> Callable[..., DataRecipe]:
    def make(data: object, **fields: object) -> DataRecipe:
        return DataRecipe(data=str(data), **fields)

    return make


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """A file of real data from beside the checkout, or a skip that says where it was looked for."""

    def find(name: str) -> Path:
        beside = Path(__file__).parents[2].parent / "shared" / "data"
        path = Path(os.environ.get("EDGEKD_TEST_DATA", beside)) / name
        if not path.is_file():
            pytest.skip(f"no real data: {path} is missing; set EDGEKD_TEST_DATA to its folder")
        return path

    return find


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
