import hashlib
import json
import threading

import pytest
from tiny_bundle import write_tiny_bundle

from edgekd import bundle
from edgekd.bundle import (
    append_record,
    from_json,
    read_bundle,
    read_record,
    read_training_head,
    sha256_of,
    to_json,
    write_bundle,
)
from edgekd.errors import BundleError
from edgekd.records import ImageInput, Metric, Preprocess, StudentBundle

METRIC = Metric(name="top1", value=0.25, split="test", num_samples=4)
GREY = Preprocess(inputs=(ImageInput(channels=1, height=8, width=8, mean=(0.5,), std=(0.5,)),))


def test_the_sha256_is_the_published_one_of_abc(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert sha256_of(tmp_path / "abc") == known


def test_a_record_reads_back_as_it_was(folder):
    content = (folder / "bundle.json").read_bytes()
    record = from_json(StudentBundle, content, source="x")
    assert record.labels == ("a", "b")
    assert to_json(record) == content


def changed(content, **fields):
    return json.dumps({**json.loads(content), **fields}).encode()


@pytest.fixture
def folder(tmp_path):
    write_tiny_bundle(tmp_path / "run", GREY, ("a", "b"))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"[1]", "expected a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema": 2}', "schema 2 found, this edgekd reads schema 1"),
        (b"{}", "schema None found"),
    ],
)
def test_what_is_no_record_is_named(content, words):
    with pytest.raises(BundleError, match=f"here: .*{words}"):
        from_json(Metric, content, source="here")


def test_an_altered_field_is_noticed(folder):
    path = folder / "bundle.json"
    path.write_bytes(changed(path.read_bytes(), num_params=1))
    with pytest.raises(BundleError, match="altered after it was written"):
        read_bundle(folder)


def test_altered_weights_are_noticed(folder):
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match="truncated or altered"):
        read_bundle(folder)


def test_missing_weights_and_a_folder_that_is_no_bundle(folder, tmp_path):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(folder)
    with pytest.raises(BundleError, match="expected the output folder of edgekd teach"):
        read_bundle(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"of a run that was stopped")
    with pytest.raises(BundleError, match=r"has not finished; .* edgekd distill --resume -o "):
        read_bundle(tmp_path)


def test_a_record_of_absurd_size_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "_JSON_LIMIT", 3)
    (tmp_path / "x.json").write_bytes(b"1234")
    with pytest.raises(BundleError, match="not a record of edgekd"):
        read_record(Metric, tmp_path / "x.json")


def test_record_and_weights_must_belong_together(folder, tmp_path):
    record = read_bundle(folder)
    with pytest.raises(ValueError, match="not that of the weights"):
        write_bundle(tmp_path / "other", record, b"others")
    assert not (tmp_path / "other").exists()


def test_a_bundle_without_a_training_head_says_what_to_do(folder):
    with pytest.raises(BundleError, match="written without one; teach again with --task retrieval"):
        read_training_head(folder, read_bundle(folder))


def test_the_training_head_is_verified(tmp_path):
    write_tiny_bundle(tmp_path, GREY, ("a", "b"), embedding_dim=4)
    record, path = read_bundle(tmp_path), tmp_path / "training_head.safetensors"
    content = read_training_head(tmp_path, record)
    assert hashlib.sha256(content).hexdigest() == record.training_head_sha256
    path.write_bytes(content[:-1])
    with pytest.raises(BundleError, match="its sha256 differs"):
        read_training_head(tmp_path, record)


def test_lines_appended_at_once_all_arrive(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"first": 1}')  # without its newline, as an editor may leave it
    threads = [threading.Thread(target=append_record, args=(path, METRIC)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {"first": 1}
    assert [row["value"] for row in rows[1:]] == [0.25] * 8
