from __future__ import annotations

import numpy as np
import pytest

from smallsight.errors import RunFolderError, SmallsightError
from smallsight.evaluation.detections_file import load_detections, save_detections
from smallsight.records import Detections


def stored(path, **changes):
    parts = {
        "boxes": np.zeros((3, 4), np.float32),
        "scores": np.zeros(3, np.float32),
        "labels": np.zeros(3, np.int32),
        "counts": np.array([1, 2]),
        "image_ids": np.array([7, 8]),
        **changes,
    }
    np.savez_compressed(path, **{name: part for name, part in parts.items() if part is not None})


@pytest.mark.parametrize("n_images", [0, 1, 7])
def test_what_is_saved_is_loaded(tmp_path, make_odd, n_images):
    _, detections = make_odd(3, n_images=n_images)
    ids = [2**40 + 3 * i for i in range(n_images)]
    path = tmp_path / "new" / "epoch_1.npz"
    save_detections(path, detections, ids)
    loaded, loaded_ids = load_detections(path)
    assert loaded_ids == ids
    assert len(loaded) == n_images
    for ours, theirs in zip(loaded, detections, strict=True):
        assert (ours.boxes.dtype, ours.scores.dtype, ours.labels.dtype) == (np.float32, np.float32, np.int64)
        assert np.array_equal(ours.boxes, theirs.boxes)
        assert np.array_equal(ours.scores, theirs.scores)
        assert np.array_equal(ours.labels, theirs.labels)


def test_same_detections_same_bytes(tmp_path, make_odd):
    _, detections = make_odd(3)
    for name in ("a.npz", "b.npz"):
        save_detections(tmp_path / name, detections, range(6))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_one_id_per_image(tmp_path):
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    with pytest.raises(SmallsightError, match="got 1 and 2"):
        save_detections(tmp_path / "a.npz", [nothing], [1, 2])
    assert not list(tmp_path.iterdir())


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(RunFolderError, match=r"a\.npz: no such detections file\. Evaluate that epoch again"):
        load_detections(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 torn", b"\x80\x04N."])
def test_damaged_file(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match="can't be read as detections"):
        load_detections(path)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_truncated_file(tmp_path, make_odd, kept):
    path = tmp_path / "a.npz"
    save_detections(path, make_odd(3)[1], range(6))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(RunFolderError, match="can't be read"):
        load_detections(path)


def test_flipped_byte(tmp_path, make_odd):
    path = tmp_path / "a.npz"
    save_detections(path, make_odd(3)[1], range(6))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(RunFolderError):
        load_detections(path)


def test_objects_are_never_unpickled(tmp_path):
    stored(tmp_path / "a.npz", boxes=np.array([{}], dtype=object))
    with pytest.raises(RunFolderError, match="can't be read"):
        load_detections(tmp_path / "a.npz")


def test_a_single_array_is_not_detections(tmp_path):
    with (tmp_path / "a.npz").open("wb") as handle:
        np.save(handle, np.zeros(3))
    with pytest.raises(RunFolderError, match="can't be read"):
        load_detections(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"scores": None}, "can't be read"),
        ({"scores": np.zeros(2, np.float32)}, "do not fit together"),
        ({"counts": np.array([1, 1])}, "do not fit together"),
        ({"image_ids": np.array([7])}, "do not fit together"),
        ({"boxes": np.zeros((3, 5), np.float32)}, "do not fit together"),
    ],
)
def test_parts_must_fit(tmp_path, changes, message):
    stored(tmp_path / "a.npz", **changes)
    if message is None:
        assert load_detections(tmp_path / "a.npz")[1] == [7, 8]
    else:
        with pytest.raises(RunFolderError, match=message):
            load_detections(tmp_path / "a.npz")
