"""A checkpoint that is ready to detect: images from files and arrays, alone and in lists, of any sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from builders import write_coco_folder, write_image
from smallsight.data.coco import read_coco
from smallsight.data.frames import FrameStore, read_image
from smallsight.detectors.checkpoint import save_checkpoint
from smallsight.detectors.nano.network import NanoDetector
from smallsight.errors import CheckpointError, ConfigError, DatasetError, InputError
from smallsight.records import Detections
from smallsight.training.loaded import LoadedDetector, load_detector
from smallsight.training.predict import predict


@pytest.fixture(scope="module")
def network() -> NanoDetector:
    torch.manual_seed(1)
    return NanoDetector(["ball"], width=0.5)


@pytest.fixture(scope="module")
def detector(network: NanoDetector, tmp_path_factory: pytest.TempPathFactory) -> LoadedDetector:
    path = tmp_path_factory.mktemp("checkpoint") / "ours.pth"
    state = network.state_dict()
    content = {"detector": dict(network.description()), "class_names": ["ball"], "resolution": 96, "epoch": 3}
    save_checkpoint(path, {**content, "model": state, "ema_model": state, "metrics": {}})
    return load_detector(path, device="cpu")


def assert_same(one: Detections, other: Detections) -> None:
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_it_finds_what_an_evaluation_finds(detector: LoadedDetector, tmp_path: Path) -> None:
    write_coco_folder(tmp_path, 3, (120, 80))
    data = read_coco(tmp_path)
    expected = predict(detector.detector, FrameStore(data), 96).detections
    paths = [image.path for image in data.images]
    for found, other in zip(detector.detect(paths), expected, strict=True):
        assert_same(found, other)
        assert found.class_names == detector.class_names == ("ball",)
    assert_same(detector.detect(str(paths[0])), expected[0])
    assert_same(detector.detect(read_image(paths[0])), expected[0])


def test_a_list_may_mix_sizes_and_kinds_and_keeps_its_order(detector: LoadedDetector, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (h, w, 3)).astype(np.uint8) for h, w in ((80, 120), (80, 120), (60, 200), (80, 120))]
    write_image(tmp_path / "a.png", images[2])
    found = detector.detect([images[0], images[1], tmp_path / "a.png", images[3]], batch_size=3)
    assert len(found) == 4 and len(found[0])
    for one, image in zip(found, images, strict=True):
        assert_same(one, detector.detect(image))
        assert one.boxes[:, [0, 2]].max() <= image.shape[1] and one.boxes[:, [1, 3]].max() <= image.shape[0]
    assert detector.detect([]) == []


def test_an_array_may_be_a_view_and_stays_as_it_is(detector: LoadedDetector) -> None:
    bgr = np.random.default_rng(0).integers(0, 255, (80, 120, 3)).astype(np.uint8)
    before = bgr.copy()
    bgr.flags.writeable = False
    assert_same(detector.detect(bgr[..., ::-1]), detector.detect(np.ascontiguousarray(before[..., ::-1])))
    assert (bgr == before).all()


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((8, 8, 3)), r"float64 \(8, 8, 3\)"),
        (np.zeros((8, 8), np.uint8), r"uint8 \(8, 8\)"),
        (np.zeros((3, 8, 8), np.uint8), r"uint8 \(3, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"uint8 \(2, 8, 8, 3\)"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 \(0, 8, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(detector: LoadedDetector, image: np.ndarray, got: str) -> None:
    with pytest.raises(InputError, match=rf"image: got {got}, expected uint8 \(H, W, 3\) in RGB"):
        detector.detect(image)


def test_a_file_that_is_no_image_is_named(detector: LoadedDetector, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DatasetError, match=r"a\.png: can't be decoded"):
        detector.detect(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"b\.png: can't be read \(No such file or directory\)"):
        detector.detect([tmp_path / "b.png"])


def test_wrong_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--weights: got 'mean', expected judged, average, raw"):
        load_detector(tmp_path / "a.pth", weights="mean")  # type: ignore[arg-type]
    (tmp_path / "a.pth").touch()
    with pytest.raises(ConfigError, match=r"training\.device: got 'gpu', expected auto, cpu, cuda or cuda:N"):
        load_detector(tmp_path / "a.pth", device="gpu")


def foreign(network: NanoDetector, path: Path, **settings: object) -> Path:
    torch.save({"model": network.state_dict(), "epoch": 4, "args": {"resolution": 96, **settings}}, path)
    return path


def test_a_foreign_file_needs_no_frames_where_it_names_its_classes(network: NanoDetector, tmp_path: Path) -> None:
    named = load_detector(foreign(network, tmp_path / "named.pth", class_names=["puck"]), device="cpu")
    assert named.class_names == ("puck",) and (named.epoch, named.resolution) == (5, 96)
    nameless = foreign(network, tmp_path / "nameless.pth")
    told = load_detector(nameless, device="cpu", class_outputs={"ball": 0}, resolution=128)
    assert told.class_names == ("ball",)
    with pytest.raises(CheckpointError, match=r"which output is which class is not known; the file names no classes"):
        load_detector(nameless, device="cpu")


def test_another_resolution_is_taken_where_the_detector_takes_it(network: NanoDetector, tmp_path: Path) -> None:
    path = tmp_path / "ours.pth"
    state = network.state_dict()
    content = {"detector": dict(network.description()), "class_names": ["ball"], "resolution": 96, "epoch": 3}
    save_checkpoint(path, {**content, "model": state, "ema_model": state})
    assert load_detector(path, device="cpu", resolution=128).resolution == 128
    with pytest.raises(ConfigError, match="--resolution: needs a multiple of"):
        load_detector(path, device="cpu", resolution=1)
