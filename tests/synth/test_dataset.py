"""Synthetic frames: the same from the same seed, boxes as tight as the ball's coverage, folders whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from smallsight.errors import DatasetError
from smallsight.rng import keyed_generator
from smallsight.synth import dataset as synthetic
from smallsight.synth.dataset import RenderedFrame, SynthOptions, contact_sheet, render_frame, write_dataset
from smallsight.synth.scene import frame as frame_module
from smallsight.synth.scene.ball import BallTrace, draw_ball
from smallsight.synth.scene.motion import ball_path, draw_crowd
from smallsight.synth.scene.viewpoint import Camera

SIZE = (640, 360)
SMALL = SynthOptions(images=9, size_wh=(192, 108), seed=3, frames_per_clip=2, splits=(0.5, 0.25, 0.25))


@pytest.fixture(scope="module")
def frames() -> list[RenderedFrame]:
    return [render_frame(SIZE, 11, clip) for clip in range(90)]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Path]:
    write_dataset(tmp_path / "set", SMALL)
    yield tmp_path / "set"


def documents(out: Path) -> dict[str, Any]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/_annotations.coco.json"))}


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def brute_force_box(trace: BallTrace, detail: int = 8, steps: int = 41) -> list[float]:
    """The half-peak box of discs drawn one after the other along the way and blurred: no formula of the renderer's."""
    ends = np.array([trace.start_xy, trace.end_xy])
    margin = trace.radius_px + 5 * trace.blur_px + 1
    low, high = np.floor(ends.min(axis=0) - margin), np.ceil(ends.max(axis=0) + margin)
    xs = (low[0] + (np.arange(int(high[0] - low[0]) * detail) + 0.5) / detail)[None, :]
    ys = (low[1] + (np.arange(int(high[1] - low[1]) * detail) + 0.5) / detail)[:, None]
    cover = np.zeros((ys.size, xs.size))
    for share in (np.arange(steps) + 0.5) / steps:
        x, y = ends[0] + share * (ends[1] - ends[0])
        cover += (np.hypot(xs - x, ys - y) <= trace.radius_px) / steps
    cover = gaussian_filter(cover, trace.blur_px * detail)
    rows, columns = np.nonzero(cover >= cover.max() / 2)
    return [
        low[0] + columns.min() / detail,
        low[1] + rows.min() / detail,
        low[0] + (columns.max() + 1) / detail,
        low[1] + (rows.max() + 1) / detail,
    ]


def test_the_same_seed_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", SMALL)
    assert contents(written) == contents(tmp_path / "again")
    write_dataset(tmp_path / "other", replace(SMALL, seed=4))
    assert contents(written) != contents(tmp_path / "other")


def test_frames_can_be_drawn_in_any_order() -> None:
    forwards = [render_frame((320, 180), 5, clip, frame).image for clip in range(3) for frame in range(2)]
    frame_module._draw_clip.cache_clear()
    backwards = [render_frame((320, 180), 5, clip, frame).image for clip in (2, 1, 0) for frame in (1, 0)]
    for image, other in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(image, other)


def test_boxes_fit_the_coverage_to_half_a_pixel(frames: list[RenderedFrame]) -> None:
    checked = 0
    for frame in frames:
        if frame.trace is not None:
            expected = np.array(brute_force_box(frame.trace)).clip(0, [*SIZE, *SIZE])
            np.testing.assert_allclose(frame.objects[0].box_xyxy, expected, atol=0.3)
            checked += 1
    assert checked > 60


@pytest.mark.parametrize("way", [(0.0, 0.0), (3.0, 0.0), (0.0, 9.0), (14.0, -6.0), (0.2, 0.1)])
@pytest.mark.parametrize("radius", [1.4, 2.3, 5.0, 8.0])
@pytest.mark.parametrize("blur", [0.4, 1.1])
def test_streaks_of_any_length_have_tight_boxes(way: tuple[float, float], radius: float, blur: float) -> None:
    trace = BallTrace((40.3, 30.8), (40.3 + way[0], 30.8 + way[1]), radius, blur, 50.0)
    ball = draw_ball(trace, (250, 250, 250), (30, 30, 30), np.zeros(2), 0.0)
    np.testing.assert_allclose(ball.box_xyxy, brute_force_box(trace), atol=0.3)


def test_the_pixels_that_the_ball_changes_are_in_its_box(
    frames: list[RenderedFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_module, "LEAST_SEEN", 2.0)
    checked = 0
    for clip, frame in enumerate(frames[:40]):
        if frame.seen < 0.99:
            continue
        without = render_frame(SIZE, 11, clip)
        assert not without.objects and without.trace is None and not without.ball_alpha.any()
        brighter = (frame.image.astype(float) - without.image).clip(0, None).sum(axis=2)
        brighter[brighter < 0.4 * brighter.max()] = 0
        if brighter.max() < 90:
            continue
        rows, columns = np.nonzero(brighter)
        x1, y1, x2, y2 = frame.objects[0].box_xyxy
        assert columns.min() + 1.5 >= x1 and columns.max() - 0.5 <= x2
        assert rows.min() + 1.5 >= y1 and rows.max() - 0.5 <= y2
        checked += 1
    assert checked > 10


def test_the_coverage_map_agrees_with_the_box(frames: list[RenderedFrame]) -> None:
    for frame in frames:
        assert frame.ball_alpha.shape == SIZE[::-1]
        assert bool(frame.objects) == bool(frame.ball_alpha.any()) == (frame.trace is not None)
        if frame.objects and frame.seen > 0.99:
            rows, columns = np.nonzero(frame.ball_alpha >= frame.ball_alpha.max() / 2)
            centre = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
            x1, y1, x2, y2 = frame.objects[0].box_xyxy
            np.testing.assert_allclose(centre, ((x1 + x2) / 2, (y1 + y2) / 2), atol=0.75)


def test_boxes_lie_in_the_frame(frames: list[RenderedFrame]) -> None:
    for frame in frames:
        assert frame.image.shape == (SIZE[1], SIZE[0], 3) and frame.image.dtype == np.uint8
        for item in frame.objects:
            x1, y1, x2, y2 = item.box_xyxy
            assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]
            assert item.label == "ball" and item.area == pytest.approx((x2 - x1) * (y2 - y1))


def test_balls_are_3_to_16_px_some_hidden_some_absent(frames: list[RenderedFrame]) -> None:
    heights = np.array([item.box_xyxy[3] - item.box_xyxy[1] for frame in frames for item in frame.objects])
    assert np.mean(heights < 4.5) > 0.15 and np.mean(heights > 8) > 0.1
    assert np.quantile(heights, 0.05) > 2.2 and np.quantile(heights, 0.98) < 18
    assert 0.02 < np.mean([not frame.objects for frame in frames]) < 0.25
    assert all(frame.seen >= 0.3 for frame in frames if frame.objects)
    assert np.mean([frame.seen < 0.95 for frame in frames if frame.objects]) > 0.04


def test_balls_grow_with_the_frame() -> None:
    pairs = [(render_frame((320, 180), 1, clip), render_frame(SIZE, 1, clip)) for clip in range(8)]
    both = [(small.trace.radius_px, large.trace.radius_px) for small, large in pairs if small.trace and large.trace]
    assert len(both) > 4
    for small, large in both:
        assert large == pytest.approx(2 * small, rel=1e-6)


@pytest.mark.parametrize("clip", range(6))
def test_a_clip_moves_smoothly(clip: int) -> None:
    frames = [render_frame((160, 90), 2, clip, number) for number in range(10)]
    balls = np.array([frame.ball_world for frame in frames])
    looks = np.array([(frame.camera.pan, frame.camera.tilt) for frame in frames])
    fastest_m = 31 / 25
    assert 0 < np.hypot(*np.diff(balls[:, :2], axis=0).T).max() < fastest_m
    assert np.abs(np.diff(looks, axis=0)).max() < 0.02 and np.abs(np.diff(looks, 2, axis=0)).max() < 0.002
    assert len({(frame.camera.position, frame.camera.focal_px) for frame in frames}) == 1
    steps = [np.abs(a.image.astype(int) - b.image).mean() for a, b in pairwise(frames)]
    other = np.abs(frames[-1].image.astype(int) - render_frame((160, 90), 2, clip + 1).image).mean()
    assert 0 < max(steps) < other


def test_everybody_runs_smoothly() -> None:
    path = ball_path(2, 0, 4.0)
    crowd = draw_crowd(keyed_generator("test", 0), path)
    ways = np.diff([crowd.at(number / 25, path) for number in range(75)], axis=0)
    assert 0 < np.linalg.norm(ways, axis=2).max() < 0.9
    assert np.linalg.norm(np.diff(ways, axis=0), axis=2).max() < 0.1


def test_a_longer_path_begins_with_the_same_passes() -> None:
    short, long = ball_path(7, 3, 0.0), ball_path(7, 3, 20.0)
    times = np.linspace(-2, 1, 50)
    np.testing.assert_array_equal(short.at(times), long.at(times))


def test_the_camera_projects_as_a_pinhole() -> None:
    camera = Camera((0.0, -50.0, 0.0), 0.0, 0.0, 1000.0, SIZE)
    np.testing.assert_allclose(
        camera.project(np.array([[0.0, 0, 0], [5, 0, 0], [0, 0, 5]])), [(320, 180), (420, 180), (320, 80)]
    )
    right = replace(camera, pan=0.1)
    assert right.project(np.array([0.0, 0, 0]))[0] == pytest.approx(320 - 1000 * np.tan(0.1))
    down = replace(camera, tilt=0.1)
    assert down.project(np.array([0.0, 0, 0]))[1] == pytest.approx(180 - 1000 * np.tan(0.1))


def test_the_dataset_is_coco_with_clips(written: Path) -> None:
    splits = documents(written)
    assert list(splits) == ["test", "train", "valid"]
    assert sum(len(document["images"]) for document in splits.values()) == SMALL.images
    for split, document in splits.items():
        assert document["categories"] == [{"id": 1, "name": "ball", "supercategory": "none"}]
        for image in document["images"]:
            pixels = cv2.imread(str(written / split / image["file_name"]))
            assert pixels is not None and pixels.shape == (image["height"], image["width"], 3)
        ids = {image["id"] for image in document["images"]}
        for item in document["annotations"]:
            x, y, width, height = item["bbox"]
            assert item["image_id"] in ids and item["category_id"] == 1 and item["iscrowd"] == 0
            assert width > 0 and height > 0 and x + width <= 192 and y + height <= 108
            assert item["area"] == pytest.approx(width * height, abs=1e-3)
            assert all(value == round(value, 2) for value in item["bbox"])


def test_no_clip_is_in_two_splits(written: Path) -> None:
    clips = [{image["clip"] for image in document["images"]} for document in documents(written).values()]
    assert len(set.union(*clips)) == sum(map(len, clips)) == 5
    assert all(isinstance(clip, str) for clip in set.union(*clips))


def test_counts_and_progress(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    counts = write_dataset(tmp_path / "set", replace(SMALL, splits=(0.6, 0.4, 0.0)), lambda *at: seen.append(at))
    assert list(counts) == ["train", "valid"] and sum(counts.values()) == 9
    assert seen == [(number, 9) for number in range(1, 10)]
    assert not (tmp_path / "set" / "test").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    calls = iter(range(100))
    jpeg = synthetic._jpeg

    def fail_at_the_fourth(frame: RenderedFrame) -> bytes:
        if next(calls) == 3:
            raise error
        return jpeg(frame)

    monkeypatch.setattr(synthetic, "_jpeg", fail_at_the_fourth)
    with pytest.raises(type(error)):
        write_dataset(tmp_path / "set", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert sum(write_dataset(tmp_path / "set", SMALL).values()) == 9


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"set: the output folder is in use; got .*, expected .* Name another"):
        write_dataset(tmp_path / "set", SMALL)
    assert contents(tmp_path) == {"set/mine.txt": b"mine"}


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DatasetError, match="no folder; got a file"):
        write_dataset(tmp_path / "set", SMALL)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": 0}, "images: out of range; got 0, expected 1 to 1000000"),
        ({"images": 10**9}, "images: out of range"),
        ({"size_wh": (0, 360)}, "size: out of range; got 0x360, expected 160x90 to 3840x2160"),
        ({"size_wh": (640, 99999)}, "size: out of range; got 640x99999"),
        ({"frames_per_clip": 0}, "frames_per_clip: out of range; got 0"),
        ({"splits": (0.5, 0.2, 0.2)}, "splits: out of range"),
        ({"splits": (1.2, -0.1, -0.1)}, "splits: out of range"),
        ({"images": 4}, "got 4 \\(2 clips\\), expected 3 clips or more"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=f"synth: .*{message}"):
        write_dataset(tmp_path / "set", replace(SMALL, **wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_is_as_wide_as_its_rows() -> None:
    sheet = contact_sheet([render_frame((320, 180), 0, clip) for clip in range(6)], columns=3)
    assert sheet.shape[1] == 960 and sheet.shape[0] > 2 * 180 and sheet.dtype == np.uint8
