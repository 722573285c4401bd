import datetime
import platform
import re

import edgekd
from edgekd.distill import provenance


def test_versions_name_edgekd_python_and_torch():
    found = provenance.versions()
    assert found["edgekd"] == edgekd.__version__
    assert found["python"] == platform.python_version()
    assert re.match(r"\d+\.\d+", found["torch"])


def test_the_commit_is_that_of_a_checkout_or_nothing():
    commit = provenance.source_commit()
    assert commit is None or re.fullmatch(r"[0-9a-f]{12}\+?", commit)


def test_outside_a_checkout_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(edgekd, "__file__", str(tmp_path / "site" / "edgekd" / "__init__.py"))
    assert provenance.source_commit() is None


def test_the_machine_ends_with_its_architecture():
    assert provenance.machine().endswith(platform.machine())


def test_now_is_utc():
    moment = datetime.datetime.fromisoformat(provenance.now())
    assert moment.utcoffset() == datetime.timedelta(0)
