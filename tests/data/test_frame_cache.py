"""Frames on the disk: equal to what is decoded, never those of a file as it was before, never a reason to stop."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

from builders import write_coco_folder, write_image
from smallsight.config.load import build_config
from smallsight.data import frame_cache
from smallsight.data.coco import Dataset, ImageEntry, read_coco
from smallsight.data.frame_cache import FrameCache, open_cache
from smallsight.data.frames import FrameStore, decode
from smallsight.errors import ConfigError, DatasetError
from smallsight.records import Image
from waiting import HANGS_S

ENTRY_MB = (40 * 30 * 3 + 128) / 1e6


@pytest.fixture(autouse=True)
def room_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_cache, "_KEEP_FREE_BYTES", 0)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    write_coco_folder(tmp_path / "data", 4, (40, 30))
    return read_coco(tmp_path / "data")


def cache_in(tmp_path: Path, budget_mb: float = 1.0) -> FrameCache:
    return FrameCache(tmp_path / "cache", budget_mb=budget_mb)


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").iterdir())


def refuse(entry: ImageEntry) -> Image:
    raise AssertionError(f"{entry.path} was decoded")


def test_a_kept_frame_equals_the_decoded_one(tmp_path: Path, dataset: Dataset) -> None:
    for index, entry in enumerate(dataset.images):
        first, held = cache_in(tmp_path).fetch(entry, decode)
        again, still_held = cache_in(tmp_path).fetch(entry, refuse)
        assert held and still_held
        assert np.array_equal(first, decode(entry)) and np.array_equal(again, decode(entry))
        assert (again.shape, again.dtype, again.flags.writeable) == ((30, 40, 3), np.uint8, False)
        assert len(entries(tmp_path)) == index + 1
        assert any(np.array_equal(np.load(path), first) for path in entries(tmp_path))


def test_nothing_is_touched_before_the_first_frame(tmp_path: Path) -> None:
    cache_in(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_same_file_under_another_name_is_the_same_entry(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")
    entry = dataset.images[0]
    cache_in(tmp_path).fetch(entry, decode)
    cache_in(tmp_path).fetch(ImageEntry(9, tmp_path / "link" / entry.path.name, entry.size_wh), refuse)


@pytest.mark.parametrize("how", ["in place", "replaced", "same size and time"])
def test_a_changed_file_is_decoded_again(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.bmp"
    entry = ImageEntry(1, path, (40, 30))
    write_image(path, np.full((30, 40, 3), 10, dtype=np.uint8))
    os.utime(path, (1e9, 1e9))
    before = path.stat()
    cache_in(tmp_path).fetch(entry, decode)
    write_image(tmp_path / "b.bmp", np.full((30, 40, 3), 200, dtype=np.uint8))
    if how == "in place":
        path.write_bytes((tmp_path / "b.bmp").read_bytes())
    else:
        (tmp_path / "b.bmp").replace(path)
    if how == "same size and time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    image, held = cache_in(tmp_path).fetch(entry, decode)
    assert held and int(image[0, 0, 0]) == 200


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: bytes(len(data)),
        lambda data: data.replace(b"(30, 40, 3)", b"(40, 30, 3)"),
    ],
    ids=["empty", "in the header", "in the pixels", "too long", "zeros", "another shape"],
)
def test_a_torn_entry_is_made_again(tmp_path: Path, dataset: Dataset, harm: object) -> None:
    entry = dataset.images[0]
    cache_in(tmp_path).fetch(entry, decode)
    (path,) = entries(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(harm(whole))  # type: ignore[operator]
    assert path.read_bytes() != whole
    image, held = cache_in(tmp_path).fetch(entry, decode)
    assert held and np.array_equal(image, decode(entry))
    assert path.read_bytes() == whole


def test_a_mapped_frame_outlives_its_entry(tmp_path: Path, dataset: Dataset) -> None:
    entry = dataset.images[0]
    cache_in(tmp_path).fetch(entry, decode)
    image, _ = cache_in(tmp_path).fetch(entry, refuse)
    (path,) = entries(tmp_path)
    path.unlink()
    cache_in(tmp_path).fetch(entry, decode)
    assert np.array_equal(image, decode(entry))


def test_what_decoding_refuses_is_refused_with_a_cache_too(tmp_path: Path, dataset: Dataset) -> None:
    entry = dataset.images[0]
    cache = cache_in(tmp_path)
    cache.fetch(entry, decode)
    with pytest.raises(DatasetError, match="the annotation says 30x40"):
        cache.fetch(ImageEntry(1, entry.path, (30, 40)), decode)
    entry.path.unlink()
    with pytest.raises(DatasetError, match="can't be read"):
        cache.fetch(entry, decode)


# The budget


@pytest.mark.parametrize(("budget", "kept"), [(0, 0), (0.9, 0), (1, 1), (2.5, 2), (100, 4)])
def test_the_folder_keeps_to_its_budget(tmp_path: Path, dataset: Dataset, budget: float, kept: int) -> None:
    for _ in range(2):  # a second process finds the folder as the first one left it
        cache = cache_in(tmp_path, budget * ENTRY_MB)
        for entry in dataset.images:
            image, _ = cache.fetch(entry, decode)
            assert np.array_equal(image, decode(entry))
        assert len(entries(tmp_path)) == kept


def test_what_others_write_counts(tmp_path: Path, dataset: Dataset) -> None:
    one, other = (cache_in(tmp_path, 2 * ENTRY_MB) for _ in range(2))
    held = [
        cache.fetch(entry, decode)[1] for entry, cache in zip(dataset.images, (one, other, one, other), strict=True)
    ]
    assert held == [True, True, False, False]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "cache").mkdir()
    old, new = tmp_path / "cache" / ".a.old.tmp", tmp_path / "cache" / ".a.new.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    cache_in(tmp_path).prepare()
    assert (old.exists(), new.exists()) == (False, True)


# What must not stop a run


def fetch_all_with_one_warning(cache: FrameCache, dataset: Dataset, reason: str) -> None:
    with pytest.warns(UserWarning) as caught:
        for entry in (*dataset.images, *dataset.images):
            image, held = cache.fetch(entry, decode)
            assert not held and np.array_equal(image, decode(entry))
    (message,) = (str(item.message) for item in caught)
    assert message.startswith(f"dataset.cache_dir: {cache.folder}: can't be written (")
    assert reason in message


def test_a_full_disk_costs_the_cache_and_nothing_else(tmp_path: Path, dataset: Dataset) -> None:
    """A limit on the size of files breaks off a write as a full disk does, half of it done."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        fetch_all_with_one_warning(cache_in(tmp_path), dataset, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert entries(tmp_path) == []


@pytest.mark.parametrize("reason", ["No space left on device", "Read-only file system", "Permission denied"])
def test_a_folder_that_can_not_be_written(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    kept = dataset.images[0]
    cache_in(tmp_path).fetch(kept, decode)

    def fail(**_: object) -> None:
        raise OSError(reason)

    monkeypatch.setattr(tempfile, "mkstemp", fail)
    cache = cache_in(tmp_path)
    rest = Dataset(dataset.root, dataset.images[1:], dataset.truths[1:], dataset.class_names, dataset.category_ids)
    fetch_all_with_one_warning(cache, rest, reason)
    cache.fetch(kept, refuse)  # what is there goes on being read


@pytest.mark.parametrize("prepared", [True, False])
def test_a_file_where_the_folder_should_be(tmp_path: Path, dataset: Dataset, prepared: bool) -> None:
    (tmp_path / "cache").write_text("not a folder")
    cache = cache_in(tmp_path)
    if prepared:
        with pytest.warns(UserWarning, match="can't be written"):
            cache.prepare()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not cache.fetch(dataset.images[0], decode)[1]
    else:
        fetch_all_with_one_warning(cache, dataset, "File exists")


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder(tmp_path: Path, dataset: Dataset) -> None:
    (tmp_path / "cache").mkdir(mode=0o555)
    fetch_all_with_one_warning(cache_in(tmp_path), dataset, "Permission denied")


def test_room_is_left_for_the_run(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_cache, "_KEEP_FREE_BYTES", 1e18)
    fetch_all_with_one_warning(cache_in(tmp_path), dataset, "would be left on the disk")
    assert entries(tmp_path) == []


# Several processes

_READER = """
import sys, hashlib
from pathlib import Path
from smallsight.data.coco import read_coco
from smallsight.data import frame_cache
from smallsight.data.frames import FrameStore
frame_cache._KEEP_FREE_BYTES = 0
disk = frame_cache.FrameCache(Path(sys.argv[2]), budget_mb=100)
store = FrameStore(read_coco(Path(sys.argv[1])), disk=disk)
sys.stdin.readline()
digest = hashlib.sha256()
for _ in range(3):
    for index in range(len(store)):
        digest.update(store.sample(index).image)
print(digest.hexdigest())
"""


def test_several_processes_at_once_see_the_same_frames(tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "data", 30, (200, 100))
    command = [sys.executable, "-W", "error", "-c", _READER, str(tmp_path / "data"), str(tmp_path / "cache")]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for reader in readers:
        assert reader.stdin
        reader.stdin.write("go\n")
        reader.stdin.flush()
    results = [reader.communicate(timeout=HANGS_S) for reader in readers]
    assert [(reader.returncode, err) for reader, (_, err) in zip(readers, results, strict=True)] == [(0, "")] * 3
    assert len({out for out, _ in results}) == 1
    assert len(entries(tmp_path)) == 30
    for path in entries(tmp_path):
        assert np.load(path).shape == (100, 200, 3)


# The store and the configuration


def test_a_store_keeps_in_memory_only_what_the_disk_does_not_hold(tmp_path: Path, dataset: Dataset) -> None:
    store = FrameStore(dataset, budget_mb=1, disk=cache_in(tmp_path, 2 * ENTRY_MB))
    plain = FrameStore(dataset)
    for index in (0, 1, 2, 3):
        assert np.array_equal(store.sample(index).image, plain.sample(index).image)
    for entry in dataset.images[2:]:
        entry.path.unlink()
    for index in (3, 2, 1, 0):
        sample = store.sample(index)
        assert sample.image.flags.writeable == (index >= 2)  # a mapped frame can't be written to


def test_a_configuration_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_cache(build_config({}, "test")) is None
    monkeypatch.setenv("CACHE_ROOT", str(tmp_path))
    cache = open_cache(build_config({"dataset": {"cache_dir": "$CACHE_ROOT/frames", "cache_disk_mb": 5}}, "test"))
    assert cache and cache.folder == tmp_path / "frames" and cache.folder.is_dir()
    assert list(cache.folder.iterdir()) == []
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache = open_cache(build_config({"dataset": {"cache_dir": "~/frames"}}, "test"))
    assert cache and cache.folder == tmp_path / "home" / "frames"
    monkeypatch.delenv("CACHE_ROOT")
    with pytest.raises(ConfigError, match=r"dataset.cache_dir: the environment variable CACHE_ROOT is not set"):
        open_cache(build_config({"dataset": {"cache_dir": "$CACHE_ROOT/frames"}}, "test"))
