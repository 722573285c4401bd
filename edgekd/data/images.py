"""From an image file's bytes to fitted uint8 pixels: decode, orient, convert, fit.

What becomes of unusual images, the same everywhere (training, calibration, device):

- EXIF orientation is applied; only the first frame of an animation is used.
- Transparency is laid over white, as on paper; ``pad`` pads with black.
- 16-bit grey is scaled by its full range (``value / 257``), never stretched per image.
- Grey becomes RGB by repeating, RGB becomes grey by Pillow's ITU-R 601 luma.
- Resampling is bilinear with antialiasing. A large JPEG is first decoded at 1/2, 1/4 or 1/8 size,
  as long as that is still at least twice the size wanted.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgekd.errors import DataError
from edgekd.records import ImageInput, InputSpec

Pixels = NDArray[np.uint8]

# Formats without an external program or a scripting language in them (EPS has both).
_FORMATS: Final = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_MAX_PIXELS: Final = 89_478_485  # Pillow's limit before it warns: 256 MiB of RGB
_ORIENTATION: Final = 0x0112  # EXIF tag 274; 5 to 8 swap width and height
_SIXTEEN_BIT: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_OTHER_MODES: Final = ("1", "L", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
_TRANSPARENT_MODES: Final = ("LA", "La", "PA", "RGBA", "RGBa")


class UnreadableFileError(DataError):
    """One file that cannot be read or decoded; counted and skipped while a data set is opened."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}; replace or remove the file")
        self.name = name
        self.reason = reason


def check_image(content: bytes, name: str) -> tuple[int, int]:
    """Height and width, after proving that the whole image decodes.

    A JPEG is decoded at 1/8 size: every byte is read but most of the arithmetic is saved.

    Raises:
        UnreadableFileError: If it is damaged, truncated, too large, or of an unknown format.
    """
    with _naming(name):
        image = _open(content)
        width, height = image.size
        image.draft(None, (1, 1))
        image.load()
        _to_grey_or_rgb(image)
        return (width, height) if _is_turned(image) else (height, width)


def decode_image(content: bytes, name: str, spec: ImageInput) -> Pixels:
    """Decode one image file to ``(H, W, C)`` as ``spec`` asks.

    Args:
        content: The file's bytes.
        name: How to name the file in an error.
        spec: Size, channels and fit; its mean and std are not used.

    Raises:
        UnreadableFileError: As :func:`check_image`.
    """
    with _naming(name):
        image = _open(content)
        height, width = spec.height, spec.width
        if _is_turned(image):
            height, width = width, height
        image.draft(None, _draft_size(image.size, (width, height), spec.fit))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return fit_image(_to_grey_or_rgb(image), spec)


def fit_image(image: Image.Image, spec: ImageInput) -> Pixels:
    """Fit a grey or RGB image to ``(H, W, C)``.

    >>> wide = Image.new("L", (4, 2), color=9)
    >>> spec = ImageInput(channels=1, height=4, width=4, fit="pad", mean=(0.5,), std=(0.5,))
    >>> fit_image(wide, spec)[:, 0, 0].tolist()
    [0, 9, 9, 0]
    """
    size = (spec.width, spec.height)
    if image.size != size:
        if spec.fit == "pad":
            image = _pad(image, size)
        else:
            box = _centre_box(image.size, size) if spec.fit == "crop" else None
            image = image.resize(size, Image.Resampling.BILINEAR, box=box)
    mode = "L" if spec.channels == 1 else "RGB"
    image = image if image.mode == mode else image.convert(mode)
    return np.asarray(image).reshape(spec.height, spec.width, spec.channels)


def require_image(spec: InputSpec) -> ImageInput:
    """The spec as an image's.

    Raises:
        DataError: If it asks for a signal.
    """
    if not isinstance(spec, ImageInput):
        raise DataError(
            f"the model takes the signal {spec.name!r}, the data are images; use its own"
        )
    return spec


def _open(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > _MAX_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels, at most {_MAX_PIXELS} are read")
    return image


@contextmanager
def _naming(name: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, UnreadableFileError):
        raise
    # Pillow's decoders raise nearly everything on hostile bytes (struct.error, IndexError,
    # SyntaxError, ...); whatever it is, the file cannot be read and the user must hear its name.
    except Exception as error:
        reason = str(error).split(" <_io.BytesIO", maxsplit=1)[0] or type(error).__name__
        raise UnreadableFileError(name, f"not a readable image ({reason})") from error


def _is_turned(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if mode in _TRANSPARENT_MODES or "transparency" in image.info:
        return _over_white(image, grey=mode in ("1", "L", "LA", "La"))
    if mode == "P":
        return image.convert("RGB")
    if mode in _SIXTEEN_BIT:
        return _from_sixteen_bit(image)
    if mode in _OTHER_MODES:
        return image.convert("L" if mode == "1" else "RGB")
    raise ValueError(f"pixels of Pillow mode {mode}; save it with 8 or 16 bits per channel")


def _over_white(image: Image.Image, *, grey: bool) -> Image.Image:
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, layer).convert("L" if grey else "RGB")


def _from_sixteen_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"values {values.min()} to {values.max()}; expected 0 to 65535")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _draft_size(size: tuple[int, int], wanted: tuple[int, int], fit: str) -> tuple[int, int]:
    """The smallest size that still leaves two pixels for each one wanted."""
    scales = (wanted[0] / size[0], wanted[1] / size[1])
    scale = min(scales) if fit == "pad" else max(scales)
    return max(1, round(2 * scale * size[0])), max(1, round(2 * scale * size[1]))


def _centre_box(
    size: tuple[int, int], wanted: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The largest centred box of the wanted aspect ratio."""
    scale = max(wanted[0] / size[0], wanted[1] / size[1])
    width, height = min(wanted[0] / scale, size[0]), min(wanted[1] / scale, size[1])
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def _pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new(image.mode, size)
    corner = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), corner)
    return canvas
