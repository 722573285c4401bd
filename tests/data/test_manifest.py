import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekd.data import manifest
from edgekd.data.manifest import open_manifest, read_manifest
from edgekd.errors import DataError


@pytest.fixture
def write(make_folder, png):
    files = {f"img/{i}.png": png(seed=i) for i in range(6)}
    root = make_folder(files)

    def make(text: str | bytes):
        path = root / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return make


def test_all_columns(write, recipe, console):
    path = write(
        "Path, label ,split,identity,camera,night\n"
        "img/0.png,dog,train,p2,north,no\n"
        "\n"
        '"img/1.png",cat,Validation,p1,south,yes\n'
        "img/2.png,dog,TEST,p2,north,yes\n"
    )
    contents = open_manifest(path, recipe(path, group="Night"), console)
    assert contents.names == ("img/0.png", "img/1.png", "img/2.png")
    assert contents.class_names == ("cat", "dog")
    assert contents.labels.tolist() == [1, 0, 1]
    assert contents.given_splits == ("train", "val", "test")
    assert contents.identities.tolist() == [1, 0, 1]
    assert contents.cameras.tolist() == [0, 1, 0]
    assert contents.groups == ("no", "yes", "yes")


def test_an_identity_can_stand_for_the_label(write, recipe, console):
    path = write("\ufeffidentity,path\np2,img/0.png\np1,img/1.png\n")
    contents = open_manifest(path, recipe(path), console)
    assert contents.class_names == ("p1", "p2")
    assert contents.labels.tolist() == contents.identities.tolist() == [1, 0]
    assert contents.cameras is None
    assert contents.given_splits is None


def test_a_role_says_who_asks_and_who_is_found(write, recipe, console):
    path = write("path,label,role\nimg/0.png,a,query\nimg/1.png,a,Gallery\nimg/2.png,b,both\n")
    roles = open_manifest(path, recipe(path), console).roles
    assert roles.is_query.tolist() == [True, False, True]
    assert roles.is_gallery.tolist() == [False, True, True]
    plain = write("path,label\nimg/0.png,a\n")
    assert open_manifest(plain, recipe(plain), console).roles is None


def test_a_role_that_is_none_is_refused(write):
    with pytest.raises(DataError, match="line 2: role 'probe'; expected query, gallery or both"):
        read_manifest(write("path,label,role\nimg/0.png,a,probe\n"))


def test_a_bad_image_takes_its_row_with_it(write, recipe, console):
    path = write(
        "path,label,camera,role\nimg/0.png,a,x,query\nimg/bad.png,b,y,both\nimg/1.png,c,z,gallery\n"
    )
    (path.parent / "img" / "bad.png").write_bytes(b"?")
    contents = open_manifest(path, recipe(path), console)
    assert contents.labels.tolist() == [0, 2]
    assert contents.cameras.tolist() == [0, 2]
    assert contents.roles.words() == ["query", "gallery"]
    assert contents.skipped == ("img/bad.png",)


def test_every_problem_is_reported_with_its_line(write):
    path = write(
        "path,label,split\n"
        "img/0.png,cat,train\n"
        "img/0.png,dog,train\n"
        "../secret.png,cat,train\n"
        "/etc/passwd,cat,train\n"
        "img/9.png,,train\n"
        "img/1.png,cat,holdout\n"
        "img/2.png,cat\n"
        "img,cat,train\n"
    )
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert str(caught.value).splitlines()[1:] == [
        "  line 3: img/0.png is already on line 2",
        "  line 4: ../secret.png is outside the manifest's folder",
        "  line 5: /etc/passwd is outside the manifest's folder",
        "  line 6: label is empty",
        "  line 6: img/9.png is no file",
        "  line 7: split 'holdout'; expected train, val or test",
        "  line 8: 2 cells, the header has 3",
        "  line 9: img is no file",
    ]
    assert "8 problems in the manifest" in str(caught.value)


def test_many_problems_are_cut_short(write):
    path = write("path,label\n" + "".join(f"gone{i}.png,a\n" for i in range(25)))
    with pytest.raises(DataError, match=r"25 problems[\s\S]*line 21:[\s\S]*and 5 more"):
        read_manifest(path)


def test_a_link_out_of_the_folder_is_refused(write, tmp_path, png):
    path = write("path,label\nimg/link.png,a\n")
    (tmp_path / "secret.png").write_bytes(png())
    (path.parent / "img" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DataError, match=r"line 2: img/link.png is outside"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("path,label\n", "no rows"),
        ("file,label\na,b\n", "line 1: no column path; found file, label, expected path,label"),
        ("path,split\na,b\n", "line 1: no column label"),
        ("path,label,label\na,b,c\n", "a column is named twice"),
        ('path,label\n"img/0.png,a\n', "line 2: unexpected end of data"),
        (b"path,label\nimg/\xff.png,a\n", "not UTF-8"),
        (b"path,label\nimg/\x00.png,a\n", r"line 2: "),
    ],
)
def test_what_is_no_manifest_is_refused(write, text, message):
    with pytest.raises(DataError, match=message):
        read_manifest(write(text))


def test_a_missing_group_column_is_named(write, recipe, console):
    path = write("path,label\nimg/0.png,a\n")
    with pytest.raises(DataError, match="no column subject"):
        open_manifest(path, recipe(path, group="subject"), console)


def test_a_giant_or_missing_file_is_refused(write, monkeypatch):
    path = write("path,label\nimg/0.png,a\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_manifest(path.with_name("gone.csv"))
    monkeypatch.setattr(manifest, "_MAX_BYTES", 5)
    with pytest.raises(DataError, match="not a manifest"):
        read_manifest(path)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tail=st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_text_is_rows_or_a_clean_error(write, tail):
    try:
        rows = read_manifest(write(b"path,label\nimg/0.png,a\n" + tail))
    except DataError:
        return
    assert all(row["path"].startswith("img/") or row["path"].startswith("./") for row in rows)
