import stat
import zipfile

import pytest

from edgekd.devices import unpack
from edgekd.devices.unpack import WheelError, unpack_wheel


def archive(path, files, *, mode=0o644):
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            target.writestr(info, content)
    return path


def test_modules_are_unpacked_and_scripts_are_not(tmp_path):
    wheel = archive(
        tmp_path / "a.whl",
        {
            "pkg/__init__.py": "1",
            "pkg-1.dist-info/METADATA": "2",
            "pkg-1.data/platlib/pkg/fast.so": "3",
            "pkg-1.data/purelib/slow.py": "4",
            "pkg-1.data/scripts/tool": "5",
            "pkg-1.data/headers/x.h": "6",
        },
    )
    unpack_wheel(wheel, tmp_path / "site")
    found = {
        str(path.relative_to(tmp_path / "site")): path.read_text()
        for path in tmp_path.glob("site/**/*")
        if path.is_file()
    }
    expected = {"pkg/__init__.py": "1", "pkg-1.dist-info/METADATA": "2", "pkg/fast.so": "3"}
    assert found == {**expected, "slow.py": "4"}


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/x", "a\\..\\x", "p.data/purelib/../../../x"]
)
def test_a_name_that_leads_outside_is_refused(tmp_path, name):
    wheel = archive(tmp_path / "a.whl", {name: "x"})
    with pytest.raises(WheelError, match="leads outside"):
        unpack_wheel(wheel, tmp_path / "site")
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl", "site"] or not list(
        tmp_path.glob("site/*")
    )


def test_a_link_is_refused(tmp_path):
    wheel = archive(tmp_path / "a.whl", {"x": "/etc/passwd"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(WheelError, match="'x' is a link"):
        unpack_wheel(wheel, tmp_path / "site")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "_MOST_BYTES", 100)
    wheel = archive(tmp_path / "a.whl", {"x": "0" * 101})
    with pytest.raises(WheelError, match="more than any wheel"):
        unpack_wheel(wheel, tmp_path / "site")
    assert not list(tmp_path.glob("site/*"))


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_a_damaged_archive_is_refused(tmp_path, cut):
    wheel = archive(tmp_path / "a.whl", {"x": "0" * 1000})
    content = bytearray(wheel.read_bytes())
    content[cut : cut + 20] = b"\0" * 20
    wheel.write_bytes(content[: -cut or None])
    with pytest.raises(WheelError):
        unpack_wheel(wheel, tmp_path / "site")
