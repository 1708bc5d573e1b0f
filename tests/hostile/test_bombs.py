"""Files that claim to be huge, or unpack to something huge, are refused for what they say, in little memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from builders import ANNOTATIONS
from hostile import bombs
from hostile.readers import READERS, write_voc_set
from hostile.watchdog import Outcome, Watched
from smallsight.config.yaml_files import MAX_BYTES, MAX_NODES
from smallsight.data.coco import ImageEntry
from smallsight.data.formats.image_transfer import parse_image_mode, planned
from smallsight.data.formats.labelled_set import LabelledImage
from smallsight.data.frames import decode
from smallsight.data.image_header import MOST_PIXELS, header_of, read_header
from smallsight.doctor.images import look_at
from smallsight.errors import DatasetError
from smallsight.run.journal import Journal

BOMB_MB = 200


def refused(outcome: Outcome, reason: str) -> None:
    assert outcome.kind == "refused", outcome
    assert reason in outcome.detail
    assert outcome.mb < BOMB_MB


@pytest.mark.parametrize("name", bombs.headers(1, 1))
@pytest.mark.parametrize("size_wh", [(60_000, 50_000), (10_001, 10_000)])
def test_an_image_that_claims_to_be_huge_is_not_decoded(tmp_path: Path, name: str, size_wh: tuple[int, int]) -> None:
    path = tmp_path / name
    path.write_bytes(bombs.headers(*size_wh)[name])
    shown = f"{size_wh[0]}x{size_wh[1]} px"
    with path.open("rb") as handle:
        header = header_of(handle)
    assert header is not None and header.size_wh == size_wh
    with pytest.raises(DatasetError, match=f"{shown}, expected at most 100 megapixels"):
        read_header(path)
    with pytest.raises(DatasetError, match=f"{shown}, the annotation says 20x12"):
        decode(ImageEntry(1, path, (20, 12)))
    with pytest.raises(DatasetError, match=f"image 1: {shown}, expected at most 100 megapixels"):
        decode(ImageEntry(1, path, size_wh))
    assert look_at(path).fault
    assert look_at(path).thumb is None


def test_a_real_decompression_bomb_takes_no_memory(watched: Watched, tmp_path: Path) -> None:
    """Of fewer pixels than OpenCV's own limit: 430 MB decoded, 140 kB on the disk."""
    READERS["coco"].write(tmp_path)
    bomb = bombs.png(12_000, 12_000)
    (tmp_path / "frame_000.png").write_bytes(bomb)
    outcome = watched("coco", tmp_path)
    refused(outcome, "frame_000.png: 12000x12000 px, expected at most 100 megapixels")
    content = json.loads((tmp_path / ANNOTATIONS).read_text())
    content["images"][0].update(width=12_000, height=12_000)
    (tmp_path / ANNOTATIONS).write_text(json.dumps(content))
    refused(watched("coco", tmp_path), "image 1: size 12000x12000 px, expected at most 100 megapixels")


def test_a_file_without_end_or_structure_is_given_up(tmp_path: Path) -> None:
    for name, start in (("a.jpg", b"\xff\xd8"), ("b.jpg", b"\xff\xd8" + b"\xff\xe1\x00\x02" * 50_000), ("c.txt", b"")):
        path = tmp_path / name
        path.write_bytes(start)
        with path.open("r+b") as handle:
            handle.truncate(2 << 30)  # a file with a hole takes no room
        with pytest.raises(DatasetError, match="no image"):
            read_header(path)
        with pytest.raises(DatasetError, match="a file of more than 1024 MiB"):
            decode(ImageEntry(1, path, (20, 12)))
        assert "1024 MiB" in look_at(path).fault


def test_an_image_is_not_resized_to_a_huge_one(tmp_path: Path) -> None:
    thin = LabelledImage(tmp_path / "a.png", "a.png", (1, 60_000))
    with pytest.raises(DatasetError, match=r"resized it would have 1280x76800000 px, expected at most"):
        planned(thin, parse_image_mode("resize:1280"))
    assert MOST_PIXELS < 1280 * 76_800_000


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bombs.npz((0, 4), 600 << 20), "bytes to unpack, expected at most 536870912"),
        (bombs.npz((10**12, 4), 0), "can't be read as detections"),
        (bombs.npz((-1, 4), 0), "can't be read as detections"),
        (bombs.npz((0, 4), 0, counts=[2, -2], image_ids=[1, 2]), "do not fit together"),
        (bombs.npz((0, 4), 0, counts=[[0]], image_ids=[[1]]), "do not fit together"),
        (bombs.npz((0, 4), 0, counts=[2**63 - 1, -(2**63) + 1], image_ids=[1, 2]), "do not fit together"),
    ],
    ids=["packed", "claimed", "negative", "negative count", "counts in a table", "counts that overflow"],
)
def test_detections(watched: Watched, tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "found.npz").write_bytes(content)
    refused(watched("detections", tmp_path), reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bombs.packed_checkpoint(2000), "it is packed and may unpack to any size"),
        (bombs.pickled(bombs.Call(bytearray, 10**12)), "can't be read as a checkpoint"),
        (bombs.pickled(bombs.Call(os.system, "touch ran")), "run"),
        (bombs.pickled(bombs.Call(eval, "open('ran', 'w')")), "run"),
        (bombs.pickled(bombs.Call(np.load, "ran")), "run"),
    ],
    ids=["packed", "array", "command", "code", "call"],
)
@pytest.mark.parametrize("name", ["ours.pth", "theirs.pth"])
def test_checkpoints(watched: Watched, tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    READERS["checkpoint"].write(tmp_path)
    (tmp_path / name).write_bytes(content)
    outcome = watched("checkpoint", tmp_path)
    refused(outcome, reason if name == "theirs.pth" or reason != "run" else "can't be read as a checkpoint")
    assert name in outcome.detail


LAUGHS = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
XML: list[tuple[bytes, str]] = [
    (b"<!DOCTYPE a [<!ENTITY a0 'ha'>" + LAUGHS + b"]><annotation>&a9;</annotation>", "document type"),
    (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>', "document type"),
    (b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><annotation/>', "document type"),
    ("<!DOCTYPE a []><annotation/>".encode("utf-16"), "no UTF-8"),
    (b"<annotation>" + b"<a>" * 400_000, "not readable as XML"),
    (b"<a>" * 2_000_000, "larger than 4 MiB"),
]


@pytest.mark.parametrize(("text", "reason"), XML, ids=["laughs", "file", "network", "utf-16", "deep", "large"])
def test_xml(watched: Watched, tmp_path: Path, text: bytes, reason: str) -> None:
    write_voc_set(tmp_path)
    (tmp_path / "frame_000.xml").write_bytes(text)
    outcome = watched("voc", tmp_path)
    assert outcome.kind == "refused" and reason in outcome.detail
    assert outcome.mb < 2 * BOMB_MB


JSON: list[tuple[bytes, str]] = [
    (b"[" * 100_000, "not readable as JSON"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not readable as JSON"),
    (b'{"images": [], "images": []}', "the key 'images' is given twice"),
    (b'{"images": [{"id": 1, "id": 2}]}', "the key 'id' is given twice"),
    (b'{"images": ' + b"9" * 5000, "not readable as JSON"),
    (b'\xff\xfe{"images"', "not readable as JSON"),
    (b'{"images": "\xff"}', "not readable as JSON"),
    (b"\xef\xbb\xbf[]", "got list at the top"),
    ("[]".encode("utf-16"), "got list at the top"),
]


@pytest.mark.parametrize(("text", "reason"), JSON)
def test_json(watched: Watched, tmp_path: Path, text: bytes, reason: str) -> None:
    READERS["coco"].write(tmp_path)
    (tmp_path / ANNOTATIONS).write_bytes(text)
    refused(watched("coco", tmp_path), reason)


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (200_000, "categories: got 200000, expected at most 20000. Keep those that have objects."),
        (1_000, "the file has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 and more. Add the"),
    ],
)
def test_categories_without_end(watched: Watched, tmp_path: Path, count: int, reason: str) -> None:
    READERS["coco"].write(tmp_path)
    content = json.loads((tmp_path / ANNOTATIONS).read_text())
    content["categories"] = [{"id": key} for key in range(count)]
    content["annotations"][0]["category_id"] = -1
    (tmp_path / ANNOTATIONS).write_text(json.dumps(content))
    outcome = watched("coco", tmp_path)
    assert outcome.kind == "refused" and outcome.sound
    assert reason in outcome.detail


YAML: list[tuple[str, bytes, str]] = [
    ("run.yaml", b"a: &a [x, x]\n" + b"".join(b"b%d: &b%d [*a, *a]\n" % (n, n) for n in range(99)), "aliases"),
    ("run.yaml", b"training: {epochs: 1" + b":59" * 100_000 + b"}", "a number of 300001 characters"),
    ("run.yaml", b"a: [" + b"1, " * MAX_NODES + b"]", f"more than {MAX_NODES} values"),
    ("run.yaml", b"#" * (MAX_BYTES + 1), "expected at most"),
    ("override", b"training.epochs=1" + b":59" * 100_000, "a number of 300001 characters"),
    ("override", b"training.epochs=" + b"[" * 100_000, "nested deeper"),
]


@pytest.mark.parametrize(("name", "text", "reason"), YAML)
def test_yaml(watched: Watched, tmp_path: Path, name: str, text: bytes, reason: str) -> None:
    READERS["configuration"].write(tmp_path)
    (tmp_path / name).write_bytes(text)
    refused(watched("configuration", tmp_path), reason)


@pytest.mark.parametrize(
    "schema",
    [
        "create view events as with recursive c(n) as (select 1 union all select n + 1 from c) "
        "select n as number, 0.0 as at, 0.0 as elapsed_s, 'x' as kind, '{}' as content from c",
        "create table events (number, at, elapsed_s, kind, content generated always as (hex(zeroblob(50000000))))",
    ],
    ids=["endless view", "made-up column"],
)
def test_journals(watched: Watched, tmp_path: Path, schema: str) -> None:
    READERS["journal"].write(tmp_path)
    path = tmp_path / "journal.sqlite"
    path.unlink()
    with Journal(path) as journal:
        journal._connection.execute("drop table events")
        journal._connection.execute(schema)
        if "table" in schema:
            journal._connection.execute("insert into events (number, at, elapsed_s, kind) values (1, 0, 0, 'x')")
    refused(watched("journal", tmp_path), "the journal can't be used")
