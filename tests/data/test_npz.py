import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.data.npz import open_npz
from edgekd.errors import DataError
from edgekd.records import ImageInput, SignalInput

IMAGES = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2)
WINDOWS = np.arange(4 * 2 * 3, dtype=np.float32).reshape(4, 2, 3)
LABELS = np.array([10, 2, 2, 10])


@pytest.fixture
def opened(tmp_path, recipe, console):
    def open_(group=None, modalities=(), **arrays):
        path = tmp_path / "a.npz"
        np.savez(path, **arrays)
        return open_npz(path, recipe(path, group=group, modalities=modalities), console)

    return open_


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels")])
def test_images(opened, names):
    contents = opened(**dict(zip(names, (IMAGES, LABELS), strict=True)))
    assert contents.kind == "image"
    assert contents.class_names == ("2", "10")  # integers in numeric order
    assert contents.labels.tolist() == [1, 0, 0, 1]
    assert contents.names[3] == "a.npz[3]"
    assert contents.given_splits is None
    assert contents.groups is None


def test_signals_with_groups_and_splits(opened):
    contents = opened(
        group="subject",
        x_acc=WINDOWS,
        x_gyro=WINDOWS[:, :1].astype(np.float16),
        y=np.array(["run", "walk", "run", "walk"]),
        split=np.array([b"train", b"Test", b"val", b"training"]),
        subject=np.array([1, 2, 3, 1]),
    )
    assert contents.kind == "signal"
    assert contents.modalities == {"acc": (2, 3), "gyro": (1, 3)}
    assert contents.class_names == ("run", "walk")
    assert contents.given_splits == ("train", "test", "val", "train")
    assert contents.groups == ("1", "2", "3", "1")


def test_a_vector_is_a_window_of_one_step(opened):
    contents = opened(x_env=WINDOWS[:, :, 0], y=LABELS)
    assert contents.modalities == {"env": (2, 1)}
    spec = SignalInput(name="env", channels=2, length=1, mean=(0.0,) * 2, std=(1.0,) * 2)
    loaded = contents.reader.load(np.array([2, 0]), spec)
    assert np.array_equal(loaded[:, :, 0], WINDOWS[[2, 0], :, 0])


def test_arrays_that_are_not_used_are_told(opened, console):
    opened(x_acc=WINDOWS, y=LABELS, subject=LABELS)
    (line,) = console.infos
    assert "not used: subject; --group NAME keeps rows of equal values" in line
    opened(group="subject", x_acc=WINDOWS, y=LABELS, subject=LABELS)
    assert console.infos == [line]


def test_a_group_that_is_misspelt_is_answered_with_what_there_is(opened):
    with pytest.raises(DataError, match="no array 'subjct' to group by; it has x_acc, y, subject"):
        opened(group="subjct", x_acc=WINDOWS, y=LABELS, subject=LABELS)


def test_image_and_signal_are_parts_of_one_sample(opened):
    contents = opened(x=IMAGES, x_acc=WINDOWS, y=LABELS)
    assert contents.kind == "mixed"
    assert contents.modalities == {"acc": (2, 3)}
    acc = SignalInput(name="acc", channels=2, length=3, mean=(0.0,) * 2, std=(1.0,) * 2)
    image = ImageInput(channels=1, height=2, width=2, mean=(0.0,), std=(1.0,))
    rows = np.array([3, 1])
    assert np.array_equal(contents.reader.load(rows, acc), WINDOWS[rows])
    assert np.array_equal(contents.reader.load(rows, image)[..., 0], IMAGES[rows])


def test_a_subset_of_the_modalities_is_split_as_the_whole(opened):
    arrays = {"x": IMAGES, "x_acc": WINDOWS, "x_gyro": WINDOWS[:, :1], "y": LABELS}
    whole, some = opened(**arrays), opened(modalities=("gyro", "acc"), **arrays)
    assert (some.kind, list(some.modalities)) == ("signal", ["acc", "gyro"])
    assert some.digests == whole.digests
    assert opened(modalities=("image",), **arrays).kind == "image"
    with pytest.raises(DataError, match="no modality 'mag'; it has image, acc, gyro"):
        opened(modalities=("mag",), **arrays)


def test_class_names_belong_to_integer_labels(opened):
    contents = opened(x=IMAGES, y=[2, 0, 0, 2], class_names=["a", "b", "c"])
    assert contents.class_names == ("a", "c")
    assert contents.labels.tolist() == [1, 0, 0, 1]


def test_arrays_nobody_asks_for_are_not_even_read(opened):
    assert len(opened(x=IMAGES, y=LABELS, note=np.array({"a": 1}, object)).labels) == 4


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": LABELS}, "images 'x', signals 'x_<name>' or both, found neither, but y"),
        ({"x_a.b": WINDOWS, "y": LABELS}, "x_a.b: a modality becomes the name"),
        ({"x_image": WINDOWS, "y": LABELS}, "and not image, logits, embedding"),
        ({"x": IMAGES, "images": IMAGES, "y": LABELS}, "holds x and images; keep one"),
        ({"x": IMAGES}, "labels 'y' of shape .* found none"),
        ({"x": IMAGES, "y": LABELS.astype(float)}, "found float64"),
        ({"x": IMAGES, "y": LABELS[:, None]}, r"found int64 \(4, 1\)"),
        ({"x": IMAGES, "y": LABELS[:3]}, "images has 4 rows, the labels 3"),
        ({"x_acc": WINDOWS[:3], "y": LABELS}, "acc has 3 rows, the labels 4"),
        ({"x_acc": WINDOWS[0, :, 0], "y": LABELS[:2]}, r"expected numbers \(N, C, T\)"),
        ({"x_acc": WINDOWS.astype(str), "y": LABELS}, "expected numbers"),
        ({"x_acc": WINDOWS + np.nan, "y": LABELS}, "x_acc has NaN or infinite values in 4 row"),
        (
            {"x_acc": WINDOWS.astype(float) * 1e300, "y": LABELS},
            "infinite values in 4 row.* up to 3.4e38",
        ),
        ({"x_logits": WINDOWS, "y": LABELS}, "and not image, logits, embedding"),
        ({"x_self": WINDOWS, "y": LABELS}, "self or a keyword of Python"),
        ({"x_in": WINDOWS, "y": LABELS}, "x_in: a modality becomes the name"),
        ({"x": IMAGES + np.inf, "y": LABELS}, "NaN or infinite"),
        ({"x": IMAGES, "y": LABELS, "split": np.array(["a"] * 4)}, "split 'a'; expected train"),
        ({"x": IMAGES, "y": LABELS, "split": np.array([0, 1, 2, 0])}, "split '0'; expected"),
        ({"x": IMAGES, "y": LABELS, "split": np.array(["train"])}, r"shape \(4,\) expected"),
        ({"x": IMAGES, "y": LABELS, "class_names": ["a", "b"]}, "class_names needs integer"),
        ({"x": IMAGES, "y": np.array(3)}, "y is no array with rows"),
        ({"x": np.array([{}], object), "y": LABELS}, "holds Python objects"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, r"found int64 \(0,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(opened, arrays, message):
    with pytest.raises(DataError, match=message):
        opened(**arrays)


def test_a_missing_group_is_named(opened):
    with pytest.raises(DataError, match="no array 'subject' to group by; it has x, y"):
        opened(group="subject", x=IMAGES, y=LABELS)


def header_claiming(shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return out.getvalue()


def test_a_header_that_claims_more_than_there_is_is_refused(make_zip, recipe, console):
    path = make_zip({"x.npy": header_claiming((1 << 46, 1, 1)) + b"123"}, "a.npz")
    with pytest.raises(DataError, match=r"memory|damaged"):
        open_npz(path, recipe(path), console)


def test_what_is_no_npz_is_refused(tmp_path, make_zip, recipe, console):
    for number, content in enumerate((b"", b"nothing of the kind")):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"damaged or no .npz"):
            open_npz(path, recipe(path), console)
    path = make_zip({"x": b"raw bytes", "y": b""}, "raw.npz")
    with pytest.raises(DataError, match="no array with rows"):
        open_npz(path, recipe(path), console)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, recipe, console, monkeypatch):
    monkeypatch.setattr("edgekd.data.store._RATIO_FROM", 1 << 16)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1 << 20))
    with pytest.raises(DataError, match="zip bomb"):
        open_npz(path, recipe(path), console)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 100),
)
def test_altered_bytes_are_a_clean_error_or_the_same_rows(tmp_path, recipe, console, changes, cut):
    path = tmp_path / "a.npz"
    np.savez(path, x=IMAGES, y=LABELS)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content[: len(content) - cut])
    try:
        contents = open_npz(path, recipe(path), console)
    except DataError:
        return
    assert len(contents.labels) == 4
