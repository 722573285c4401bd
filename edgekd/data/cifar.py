"""``cifar10`` and ``cifar100``: the authors' binary version, read with numpy.

torchvision's loader reads the "python version", which is pickle: opening it runs whatever code the
file holds. The binary version has the same images as plain bytes, so it is read here instead: the
archive's checksum first, then only the members expected, at the sizes expected, never extracted.

Source: A. Krizhevsky (2009), Learning Multiple Layers of Features from Tiny Images.
"""

import hashlib
import os
import tarfile
import urllib.request
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.arrays import image_contents
from edgekd.data.dataset import Contents, Indices
from edgekd.data.images import Pixels
from edgekd.errors import DataError, OutputError
from edgekd.records import SplitName

_PIXELS: Final = 3 * 32 * 32
_HOST: Final = "https://www.cs.toronto.edu/~kriz/"
_MAX_DOWNLOAD: Final = 256 << 20
_MAX_TEXT: Final = 1 << 16


class CifarArchive(NamedTuple):
    """What an archive must hold; its md5 is the one its authors publish beside it."""

    file: str
    md5: str
    folder: str
    batches: tuple[tuple[str, SplitName, int], ...]
    class_file: str
    label_bytes: int
    num_classes: int


ARCHIVES: Final = {
    "cifar10": CifarArchive(
        file="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
        batches=(
            *((f"data_batch_{i}.bin", "train", 10_000) for i in range(1, 6)),
            ("test_batch.bin", "test", 10_000),
        ),
        class_file="batches.meta.txt",
        label_bytes=1,
        num_classes=10,
    ),
    "cifar100": CifarArchive(
        file="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        batches=(("train.bin", "train", 50_000), ("test.bin", "test", 10_000)),
        class_file="fine_label_names.txt",
        label_bytes=2,  # coarse, then fine
        num_classes=100,
    ),
}


def open_cifar(archive: CifarArchive, recipe: DataRecipe, console: Console) -> Contents:
    """Open CIFAR from the cache folder; ``recipe.download`` allows fetching it once.

    The cache folder is ``$EDGEKD_CACHE``, or ``edgekd`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        DataError: If the archive is missing, damaged or not the one its authors published.
        OutputError: If the cache folder cannot be written.
    """
    path = cache_folder() / archive.file
    if not path.is_file():
        if not recipe.download:
            raise DataError(
                f"{path} is missing; add --download to fetch {_HOST}{archive.file} (about 165 MB), "
                "or put it there yourself"
            )
        _download(archive, path, console)
    return _parse(_read_members(path, archive), archive, path)


def cache_folder() -> Path:
    """Where downloaded archives are kept between runs."""
    own = os.environ.get("EDGEKD_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekd"


def _read_members(path: Path, archive: CifarArchive) -> dict[str, bytes]:
    record = archive.label_bytes + _PIXELS
    sizes = {name: count * record for name, _, count in archive.batches}
    members: dict[str, bytes] = {}
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, _md5).hexdigest() != archive.md5:
                raise DataError(
                    f"{path}: its md5 is not {archive.md5}; delete it and fetch it again"
                )
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r|gz") as tar:
                for member in tar:
                    name = member.name.removeprefix(archive.folder + "/")
                    fits = member.size == sizes.get(name) or (
                        name == archive.class_file and member.size <= _MAX_TEXT
                    )
                    content = tar.extractfile(member) if fits and member.isreg() else None
                    if content is not None:
                        members[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); delete it and fetch it again"
        ) from error
    missing = [name for name in (*sizes, archive.class_file) if name not in members]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; delete it and fetch it again")
    return members


def _parse(members: dict[str, bytes], archive: CifarArchive, path: Path) -> Contents:
    class_names = tuple(members[archive.class_file].decode("ascii", "replace").split())
    parsed = [_parse_batch(members[name], archive.label_bytes) for name, _, _ in archive.batches]
    images = np.concatenate([images for images, _ in parsed])
    labels = np.concatenate([labels for _, labels in parsed])
    if len(class_names) != archive.num_classes or labels.max() >= archive.num_classes:
        raise DataError(f"{path}: labels that are not CIFAR's; delete it and fetch it again")
    batches = archive.batches
    return image_contents(
        images,
        names=tuple(f"{name}[{row}]" for name, _, count in batches for row in range(count)),
        labels=labels,
        class_names=class_names,
        given_splits=tuple(split for _, split, count in batches for _ in range(count)),
    )


def _parse_batch(content: bytes, label_bytes: int) -> tuple[Pixels, Indices]:
    records = np.frombuffer(content, np.uint8).reshape(-1, label_bytes + _PIXELS)
    images = records[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, label_bytes - 1].astype(np.int64)


def _download(archive: CifarArchive, path: Path, console: Console) -> None:
    url = _HOST + archive.file
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = temporary.open("wb")
    except OSError as error:
        raise OutputError(
            f"{path.parent}: cannot be written ({error.strerror}); "
            "set EDGEKD_CACHE to another folder"
        ) from error
    try:
        with file, urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - fixed https address
            total = int(response.headers.get("Content-Length") or 0)
            with console.track(f"Downloading {archive.file}", total) as tracker:
                while block := response.read(1 << 20):
                    file.write(block)
                    tracker.advance(len(block))
                    if file.tell() > _MAX_DOWNLOAD:
                        raise DataError(f"{url}: larger than expected; fetch it yourself to {path}")
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{url}: cannot be fetched ({error}); try again, or fetch it yourself to {path}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)  # names the file; what is in it is never executed
