"""What a training set supplies: lengths, keys, and that settings reach the samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smallsight.config.load import build_config
from smallsight.data.coco import read_coco
from smallsight.data.frames import FrameStore
from smallsight.detectors.build import build_detector
from smallsight.training.supply import Supply
from training.frames import tiny_settings, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("supply"))


def supply_of(data: Path, **sections: dict[str, Any]) -> Supply:
    settings = tiny_settings(data, **sections.pop("training", {}))
    config = build_config(
        {**settings, **sections, "sampling": {**settings["sampling"], **sections.get("sampling", {})}}, "t"
    )
    return Supply(FrameStore(read_coco(data / "train")), build_detector(config, ["ball"], "t"), config)


def epoch_of(supply: Supply, epoch: int = 1, boost: float = 1.0, **more: Any) -> list[Any]:
    return list(supply.loader(epoch, {}, boost, **{"with_mosaic": True, "skip_batches": 0, **more}))


def same(a: list[Any], b: list[Any]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(
        torch.equal(x[0], y[0]) and all(torch.equal(s.boxes, t.boxes) for s, t in zip(x[1], y[1], strict=True))
        for x, y in pairs
    )


EVERYTHING: dict[str, Any] = {
    "horizontal_flip": 0.5,
    "zoom": 0.5,
    "mosaic": 0.5,
    "copy_paste": 0.8,
    **dict.fromkeys(("motion_blur", "gaussian_blur", "iso_noise", "downscale", "jpeg_compression"), 0.3),
}


def test_an_epoch_has_as_many_samples_as_it_says(data: Path) -> None:
    supply = supply_of(data)
    batches = epoch_of(supply)
    assert supply.samples == 24 == sum(len(images) for images, _ in batches)
    assert len(batches) == supply.batches == math.ceil(24 / 4)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(data: Path, workers: int) -> None:
    alone = supply_of(data, augmentation=EVERYTHING, training={"multi_scale": True})
    helped = supply_of(data, augmentation=EVERYTHING, training={"multi_scale": True, "num_workers": workers})
    assert same(epoch_of(alone), epoch_of(helped))


def test_a_restart_in_mid_epoch_gives_the_rest_of_it(data: Path) -> None:
    supply = supply_of(data, augmentation=EVERYTHING, training={"multi_scale": True})
    whole = epoch_of(supply)
    fresh = supply_of(data, augmentation=EVERYTHING, training={"multi_scale": True})
    assert same(whole[2:], epoch_of(fresh, skip_batches=2))
    assert not same(whole, epoch_of(fresh, epoch=2))


@pytest.mark.parametrize("change", [{"copy_paste": 1}, {"mosaic": 1}, {"motion_blur": 1}, {"zoom": 1}])
def test_each_switch_reaches_the_samples(data: Path, change: dict[str, Any]) -> None:
    plain = {"horizontal_flip": 0, "color_jitter": 0}
    a, b = (supply_of(data, augmentation=settings) for settings in (plain, {**plain, **change}))
    assert not same(epoch_of(a), epoch_of(b))


def test_pasting_adds_objects(data: Path) -> None:
    plain = {"horizontal_flip": 0, "color_jitter": 0}
    counts = [
        sum(
            int((~target.ignored).sum())
            for _, targets in epoch_of(supply_of(data, augmentation=settings))
            for target in targets
        )
        for settings in (plain, {**plain, "copy_paste": 1})
    ]
    assert counts[1] >= counts[0] + 12


def test_there_is_no_mosaic_where_none_is_asked_for(data: Path) -> None:
    settings = {"horizontal_flip": 0, "color_jitter": 0}
    with_it, without = (supply_of(data, augmentation=s) for s in ({**settings, "mosaic": 1}, settings))
    assert same(epoch_of(with_it, with_mosaic=False), epoch_of(without))


def test_weights_reach_the_targets_and_keep_their_mean(data: Path) -> None:
    supply = supply_of(data, training={"small_object_loss_weight": 2.0})
    weights = torch.cat(
        [t.weights[~t.ignored] for epoch in range(1, 8) for _, ts in epoch_of(supply, epoch) for t in ts]
    )
    assert len(weights.unique()) > 1
    assert float(weights.mean()) == pytest.approx(1, abs=0.12)
    even = supply_of(data)
    assert all((t.weights == 1).all() for _, ts in epoch_of(even) for t in ts)


def test_only_a_fed_loss_moves_the_boost(data: Path) -> None:
    assert supply_of(data).next_boost(1.0, 0.0) == 1.0
    fed = supply_of(data, sampling={"loss_fed": True})
    assert fed.next_boost(1.0, 0.0) > 1.0
    assert fed.next_boost(1.5, 0.9) < 1.5


def test_oversampling_takes_images_with_tiny_objects_more_often(data: Path) -> None:
    supply = supply_of(data, sampling={"oversample": "tiny_objects", "crops_per_image": 40})
    plain = supply_of(data, sampling={"crops_per_image": 40})
    tiny = [np.mean([bool((t.tiny & ~t.ignored).any()) for _, ts in epoch_of(s) for t in ts]) for s in (supply, plain)]
    assert tiny[0] > tiny[1]
