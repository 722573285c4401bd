"""Where image files lie: a folder or a zip. Both give bytes by name and open nothing for longer.

A zip is never extracted. Its names, sizes and compression are checked before a byte is used, each
member is read with a bound, and its checksum is compared. A file is opened anew for every read, so
that threads and forked processes can share a store.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, Protocol

from edgekd.data.images import UnreadableFileError
from edgekd.errors import DataError

IMAGE_SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
)

_MAX_MEMBERS: Final = 2_000_000
_MAX_FILE_BYTES: Final = 256 << 20
_MAX_TOTAL_BYTES: Final = 256 << 30
_MAX_RATIO: Final = 200  # checked only above _RATIO_FROM: small archives can do no harm
_RATIO_FROM: Final = 1 << 30
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field


class FileStore(Protocol):
    """Files by name."""

    @property
    def names(self) -> tuple[str, ...]:
        """Relative names with ``/``, in text order."""

    def read(self, name: str) -> bytes:
        """The content of one file; raises :class:`UnreadableFileError`."""


class FolderStore:
    """Files below a folder.

    Args:
        root: The folder.
        names: Relative to it; the caller has made sure that they stay inside.
    """

    def __init__(self, root: Path, names: tuple[str, ...]) -> None:
        self.names = names
        self._root = root

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            UnreadableFileError: If it cannot be read or is larger than 256 MiB.
        """
        try:
            with (self._root / name).open("rb") as file:
                content = file.read(_MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise UnreadableFileError(name, f"cannot be read ({error})") from error
        if len(content) > _MAX_FILE_BYTES:
            raise UnreadableFileError(name, f"larger than {_MAX_FILE_BYTES >> 20} MiB")
        return content


class _Member(NamedTuple):
    offset: int
    compressed_size: int
    size: int
    crc: int
    is_deflated: bool


class ZipStore:
    """Image files of a zip.

    Args:
        path: The zip.

    Raises:
        DataError: If it is no zip, or one made to do harm: names that leave the folder, names
            given twice, encrypted members, or sizes and counts beyond the limits.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        infos = [info for info in _central_directory(path) if not info.filename.endswith("/")]
        self._members: dict[str, _Member] = {}
        ignored = []
        for info in infos:
            name = _safe_name(info.filename, path)
            if not is_image_name(name):
                ignored.append(name)
            elif name in self._members:
                raise DataError(f"{path}: holds {name!r} twice; make the zip again")
            else:
                self._members[name] = _member(info, name, path)
        refuse_bomb(sum(member.size for member in self._members.values()), path)
        self.names = tuple(sorted(self._members))
        self.ignored = tuple(sorted(ignored))

    def read(self, name: str) -> bytes:
        """The content of one member, its checksum compared.

        Raises:
            UnreadableFileError: If the member is damaged.
        """
        member = self._members[name]
        try:
            content = self._inflate(member)
        except (OSError, ValueError, struct.error, zlib.error) as error:
            raise UnreadableFileError(name, f"damaged in the zip ({error})") from error
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise UnreadableFileError(name, "damaged in the zip (its checksum differs)")
        return content

    def _inflate(self, member: _Member) -> bytes:
        with self._path.open("rb") as file:
            file.seek(member.offset)
            signature, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            if signature != b"PK\x03\x04":
                raise ValueError("no file header where one was announced")
            file.seek(sum(lengths), os.SEEK_CUR)
            data = file.read(member.compressed_size)
        # One byte more than announced is enough to see a lie, and bounds what a bomb can unpack.
        return (
            zlib.decompressobj(-15).decompress(data, member.size + 1)
            if member.is_deflated
            else data
        )


def walk_images(root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Relative names of the image files below a folder, and those of all other files.

    Linked folders are followed, each real folder once.

    Raises:
        DataError: If a folder cannot be listed.
    """
    names: list[str] = []
    ignored: list[str] = []
    for folder, files in _walk(root):
        for file in files:
            name = (folder / file).relative_to(root).as_posix()
            (names if is_image_name(name) else ignored).append(name)
    return tuple(sorted(names)), tuple(sorted(ignored))


def is_image_name(name: str) -> bool:
    """Whether a relative name is that of a visible image file.

    Hidden files and ``__MACOSX`` (resource forks that macOS adds to a zip) are no data.

    >>> [is_image_name(n) for n in ("cat/1.JPG", "cat/._1.JPG", "__MACOSX/cat/1.JPG", "README.md")]
    [True, False, False, False]
    """
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def refuse_bomb(total: int, path: Path) -> None:
    """Check how much an archive claims to unpack to before anything is unpacked.

    Args:
        total: In bytes, of the members that would be read.
        path: The archive.

    Raises:
        DataError: If it is over 256 GiB, or over 1 GiB and 200 times the archive: images and
            sensor data do not compress that well.
    """
    packed = path.stat().st_size
    if total > _MAX_TOTAL_BYTES or (total > _RATIO_FROM and total > _MAX_RATIO * packed):
        raise DataError(
            f"{path}: {packed} bytes that unpack to {total}; looks like a zip bomb, use plain files"
        )


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); check its rights")

    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        real = os.path.realpath(folder)
        if real in seen:  # a link back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        yield Path(folder), files


def _central_directory(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    # zipfile raises NotImplementedError for a version of the format that it cannot read
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError) as error:
        raise DataError(f"{path}: not a zip, or truncated ({error}); copy it again") from error
    if len(infos) > _MAX_MEMBERS:
        raise DataError(f"{path}: {len(infos)} members, at most {_MAX_MEMBERS}; use a folder")
    return infos


def _safe_name(name: str, path: Path) -> str:
    posix = name.replace("\\", "/")  # some Windows tools write backslashes
    parts = posix.split("/")
    if not posix.isprintable() or posix.startswith("/") or ".." in parts or ":" in parts[0]:
        raise DataError(f"{path}: hostile member name {name!r}; do not trust this zip")
    return "/".join(part for part in parts if part not in ("", "."))


def _member(info: zipfile.ZipInfo, name: str, path: Path) -> _Member:
    if info.flag_bits & 0x1:
        raise DataError(f"{path}: {name} is encrypted; make the zip without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {name} is compressed with method {info.compress_type}; use deflate"
        )
    if max(info.file_size, info.compress_size) > _MAX_FILE_BYTES:
        raise DataError(
            f"{path}: {name} unpacks to {info.file_size} bytes, {_MAX_FILE_BYTES} are allowed; "
            "leave it out"
        )
    return _Member(
        offset=info.header_offset,
        compressed_size=info.compress_size,
        size=info.file_size,
        crc=info.CRC,
        is_deflated=info.compress_type == zipfile.ZIP_DEFLATED,
    )
