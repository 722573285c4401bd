import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekd.data.images import (
    UnreadableFileError,
    check_image,
    decode_image,
    fit_image,
    require_image,
)
from edgekd.errors import DataError
from edgekd.records import ImageInput, SignalInput


def spec(height=1, width=1, channels=3, fit="crop") -> ImageInput:
    return ImageInput(
        channels=channels,
        height=height,
        width=width,
        fit=fit,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )


def encode(image: Image.Image, kind="PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pixel(content: bytes, channels=3) -> list[int]:
    return decode_image(content, "x", spec(channels=channels))[0, 0].tolist()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGB", (10, 20, 30), [10, 20, 30]),
        ("L", 40, [40, 40, 40]),
        ("1", 1, [255, 255, 255]),
        ("RGBA", (255, 0, 0, 0), [255, 255, 255]),  # nothing but paper
        ("RGBA", (255, 0, 0, 255), [255, 0, 0]),
        ("RGBA", (255, 0, 0, 51), [255, 204, 204]),  # 0.2 * 0 + 0.8 * 255
        ("LA", (0, 51), [204, 204, 204]),
        ("I;16", 25700, [100, 100, 100]),  # 25700 / 257
        ("I;16", 65535, [255, 255, 255]),
        ("I;16", 4095, [16, 16, 16]),  # 12-bit data stay dark: 4095 / 257 = 15.9
    ],
)
def test_modes_become_the_colour_they_show(mode, colour, expected):
    assert pixel(encode(Image.new(mode, (1, 1), colour))) == expected


def test_palette_is_looked_up_and_its_transparency_is_paper():
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 1, 2, 3])
    image.putdata([0, 1])
    decoded = decode_image(encode(image, transparency=1), "x", spec(1, 2))
    assert decoded[0].tolist() == [[200, 100, 50], [255, 255, 255]]


def test_transparent_colour_of_an_rgb_png_is_paper():
    content = encode(Image.new("RGB", (1, 1), (1, 2, 3)), transparency=(1, 2, 3))
    assert pixel(content) == [255, 255, 255]


def test_rgb_becomes_grey_by_luma():
    content = encode(Image.new("RGB", (1, 1), (255, 0, 0)))
    assert pixel(content, channels=1) == [round(0.299 * 255)]


def test_cmyk_jpeg_is_read():
    content = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert pixel(content) == [255, 255, 255]


def test_floating_point_pixels_are_refused():
    with pytest.raises(UnreadableFileError, match=r"x: .*mode F"):
        check_image(encode(Image.new("F", (1, 1), 0.5), "TIFF"), "x")


def test_only_the_first_frame_of_an_animation_counts():
    frames = [Image.new("L", (1, 1), value) for value in (9, 200)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(content) == [9, 9, 9]


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2]]),
        (2, [[2, 1]]),  # mirrored
        (3, [[2, 1]]),  # upside down
        (6, [[1], [2]]),  # the camera was turned left: rotate by 90 degrees clockwise
        (8, [[2], [1]]),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation, expected, kind):
    image = Image.new("RGB", (2, 1))
    image.putdata([(1,) * 3, (2,) * 3])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(image, kind, exif=exif, **options)
    height, width = len(expected), len(expected[0])
    assert check_image(content, "x") == (height, width)
    assert decode_image(content, "x", spec(height, width))[..., 0].tolist() == expected


def test_a_turned_jpeg_is_drafted_for_the_turned_size():
    image = Image.new("L", (1600, 200), 77)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(image, "JPEG", exif=exif)
    assert check_image(content, "x") == (1600, 200)
    assert np.unique(decode_image(content, "x", spec(160, 20, channels=1))).tolist() == [77]


def test_crop_takes_the_centre_squash_all_of_it_and_pad_adds_black():
    image = Image.new("L", (4, 2))
    image.putdata([0, 50, 100, 150] * 2)
    assert fit_image(image, spec(2, 2, 1, "crop"))[..., 0].tolist() == [[50, 100]] * 2
    squashed = fit_image(image, spec(1, 1, 1, "squash"))
    assert squashed.item() == 75  # the mean of all
    padded = fit_image(image, spec(4, 4, 1, "pad"))
    assert padded[..., 0].tolist() == [[0] * 4, [0, 50, 100, 150], [0, 50, 100, 150], [0] * 4]


def test_a_large_jpeg_gives_what_the_full_decode_gives(rng):
    rough = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(rough).resize((1200, 1200), Image.Resampling.BICUBIC)
    content = encode(image, "JPEG", quality=95)
    full = np.asarray(
        Image.open(io.BytesIO(content)).resize((100, 100), Image.Resampling.BILINEAR), np.int64
    )
    drafted = decode_image(content, "x", spec(100, 100)).astype(np.int64)
    assert np.abs(drafted - full).mean() < 1.0


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    wanted=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(["crop", "squash", "pad"]),
    channels=st.sampled_from([1, 3]),
)
@example(size=(1, 5000), wanted=(40, 7), fit="crop", channels=3)
@example(size=(5000, 1), wanted=(40, 7), fit="pad", channels=1)
def test_a_flat_image_stays_flat_whatever_the_sizes(size, wanted, fit, channels):
    fitted = fit_image(Image.new("L", size, 90), spec(*wanted, channels, fit))
    assert fitted.shape == (*wanted, channels)
    allowed = {0, 90} if fit == "pad" else {90}
    assert set(np.unique(fitted).tolist()) <= allowed
    assert 90 in fitted


def damaged() -> dict[str, bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    jpeg, png = encode(Image.fromarray(noise), "JPEG"), encode(Image.fromarray(noise))
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    return {
        "empty": b"",
        "text": b"not an image at all",
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "header only": jpeg[:20],
        "truncated png": png[: len(png) // 2],
        "altered png": bytes(flipped),
        "script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    }


@pytest.mark.parametrize("content", damaged().values(), ids=damaged().keys())
def test_damaged_files_are_named(content):
    with pytest.raises(UnreadableFileError, match=r"cat/1.jpg: not a readable image"):
        check_image(content, "cat/1.jpg")
    with pytest.raises(DataError, match=r"cat/1.jpg"):
        decode_image(content, "cat/1.jpg", spec())


def test_a_decompression_bomb_is_refused_before_decoding():
    header = struct.pack(">IIBBBBB", 15_000, 15_000, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        chunks += struct.pack(">I", len(body)) + kind + body
        chunks += struct.pack(">I", zlib.crc32(kind + body))
    with pytest.raises(UnreadableFileError, match=r"bomb|pixels"):
        check_image(b"\x89PNG\r\n\x1a\n" + chunks, "bomb.png")


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks on odd metadata
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 2000),
)
def test_altered_bytes_decode_or_are_refused_never_crash(kind, changes, cut):
    image = Image.fromarray(np.arange(12 * 9 * 3, dtype=np.uint8).reshape(9, 12, 3))
    content = bytearray(encode(image, kind))
    for place, value in changes:
        content[place % len(content)] = value
    content = bytes(content[: len(content) - cut] if cut < len(content) // 2 else content)
    try:
        height, width = check_image(content, "x")
    except UnreadableFileError:
        return
    assert height * width > 0


def test_a_signal_spec_is_refused():
    signal = SignalInput(name="acc", channels=1, length=2, mean=(0.0,), std=(1.0,))
    with pytest.raises(DataError, match="the model takes the signal 'acc', the data are images"):
        require_image(signal)
