"""Everything here that reads what others wrote: valid files to begin with, and how the product reads them."""

from __future__ import annotations

import argparse
import io
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from rich.console import Console

from builders import ANNOTATIONS, write_coco_folder
from run.earlier import as_in_0_1_0
from smallsight.commands.report import history_of
from smallsight.commands.status import as_lines
from smallsight.config.load import Config, load_config, training_scales
from smallsight.config.unused_keys import keys_without_effect
from smallsight.config.yaml_files import to_yaml
from smallsight.data.coco import ImageEntry, read_coco
from smallsight.data.convert import convert
from smallsight.data.formats.coco_any import read_coco_any
from smallsight.data.formats.voc import read_voc
from smallsight.data.formats.yolo import read_yolo
from smallsight.data.frames import decode
from smallsight.data.groups import groups_of
from smallsight.data.image_header import read_header
from smallsight.detectors.build import descriptions_of, detector_from_description
from smallsight.detectors.checkpoint import check_classes, is_ours, load_checkpoint, load_weights, save_checkpoint
from smallsight.detectors.foreign import read_foreign
from smallsight.detectors.nano.network import NanoDetector
from smallsight.doctor.examine import Options, examine
from smallsight.doctor.page import render
from smallsight.doctor.text import print_examination
from smallsight.errors import SmallsightError
from smallsight.evaluation.detections_file import load_detections, save_detections
from smallsight.records import Detections
from smallsight.report.analysis import analyse
from smallsight.report.document import to_document
from smallsight.report.html import render as render_report
from smallsight.report.status import status_of
from smallsight.report.summary import print_summary
from smallsight.run.events import Event
from smallsight.run.fold import read_state
from smallsight.run.journal import Journal
from smallsight.strategy.describe import plan_as_rows, plan_as_text
from smallsight.strategy.plan import Plan, load_plan
from smallsight.strategy.plan_check import check_plan
from strategy.lab import Lab

JOURNAL = "journal.sqlite"

SOURCE = Path(__file__).parents[2]
Form = Literal["json", "events", "checkpoint", "yaml", "text", "archive", "bytes"]
SMALL_WH = (48, 40)


@dataclass(frozen=True)
class Reader:
    """A kind of input.

    Attributes:
        write: puts valid files into an empty folder.
        hostile: files of it that an example changes, each with the way to change it so that it stays half readable.
        read: what the product does with the folder.
    """

    write: Callable[[Path], object]
    hostile: dict[str, Form]
    read: Callable[[Path], object]


def write_configuration(folder: Path) -> None:
    given = {
        "model": {"detector": "nano", "width": 1.0},
        "training": {"batch_size": 16, "learning_rate": 2e-4, "epochs": 10, "resolution": 640, "multi_scale": True},
        "sampling": {"crop_px": 192, "oversample": "rare_classes"},
        "dataset": {"coco_train_path": "$HOME/train", "coco_val_path": "valid", "category_name": "ball"},
        "augmentation": {"train": {"mosaic": {"scale_range": [0.8, 1.2]}, "jpeg_compression": 0.3, "zoom": True}},
        "evaluation": {"sets": {"other": "data/other"}, "centre_hit_px": 4.0},
        "checkpoint": {"resume_from": None},
        "output": {"output_dir": "runs/one"},
    }
    (folder / "run.yaml").write_text(to_yaml(given))
    (folder / "override").write_text("training.epochs=12")


def read_configuration(folder: Path) -> object:
    text = (folder / "override").read_text(errors="surrogateescape")
    loaded = load_config(folder / "run.yaml", [text])
    return loaded.config.to_dict(), keys_without_effect(loaded), training_scales(loaded.config, 16)


def write_strategy(folder: Path) -> None:
    shutil.copyfile(SOURCE / "strategies" / "small_objects.yaml", folder / "plan.yaml")


def read_strategy(folder: Path) -> object:
    plan, config = load_plan(folder / "plan.yaml"), Config()
    check_plan(plan, config, "plan.yaml")
    rows = plan_as_rows(plan, config, resumes=False, budget_s=600)
    return plan.to_dict(), plan_as_text(plan, rows)


def write_coco_set(folder: Path) -> None:
    write_coco_folder(folder, 3, SMALL_WH, suffix=".png", frames_per_clip=2)


def read_coco_set(folder: Path) -> object:
    """Trained on, converted and examined; the two readers agree on what is sound."""
    examined = examine(folder, Options(workers=1))
    examined.to_json()
    render(examined)
    print_examination(Console(file=io.StringIO(), width=100), examined)
    unreadable = {"image_damaged", "image_truncated", "image_unreadable", "image_size_wrong", "image_rotated"}
    errors = [item for item in examined.findings if item.severity == "error" and item.kind not in unreadable]
    try:
        dataset = read_coco(folder)
    except SmallsightError as error:
        assert errors, f"the doctor finds nothing where reading stops: {error}"
        raise
    assert not [item for item in errors if not item.kind.startswith(("leakage", "class"))], errors
    return groups_of(dataset), read_coco_any(folder)


def write_yolo_set(folder: Path) -> None:
    write_coco_folder(folder / "coco", 3, SMALL_WH, suffix=".png")
    from smallsight.data.convert import ConvertOptions

    convert([folder / "coco"], folder / "set", ConvertOptions(to="yolo"))
    (folder / "set" / "data.yaml").write_text("train: images\nval: images\nnc: 1\nnames: {0: ball}\n")


def read_yolo_set(folder: Path) -> object:
    return read_yolo(folder / "set")


def write_voc_set(folder: Path) -> None:
    write_coco_folder(folder, 1, SMALL_WH, suffix=".png")
    (folder / ANNOTATIONS).unlink()
    size = f"<size><width>{SMALL_WH[0]}</width><height>{SMALL_WH[1]}</height></size>"
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>9</xmax><ymax>10</ymax></bndbox>"
    ball = f"<object><name>ball</name><difficult>0</difficult>{box}</object>"
    (folder / "frame_000.xml").write_text(f"<?xml version='1.0'?><annotation>{size}{ball}</annotation>")


def read_voc_set(folder: Path) -> object:
    return read_voc(folder)


def write_image(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (SMALL_WH[1], SMALL_WH[0], 3), dtype=np.uint8)
    for name in IMAGES:
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix, pixels)[1].tobytes())


def read_image(folder: Path) -> object:
    refused = None
    for path in sorted(folder.iterdir()):
        try:
            read_header(path)
            decode(ImageEntry(1, path, SMALL_WH))
        except SmallsightError as error:
            refused = error
    if refused:
        raise refused
    return None


def write_checkpoints(folder: Path) -> None:
    detector = NanoDetector(("ball",), width=0.25)
    state = detector.state_dict()
    content = {"detector": dict(detector.description()), "class_names": ["ball"], "resolution": 640, "epoch": 3}
    save_checkpoint(folder / "ours.pth", {**content, "model": state, "ema_model": state, "metrics": {"map": 0.5}})
    torch.save(rfdetr_like(), folder / "theirs.pth")
    torch.save({"model_state_dict": state, "epoch": 7}, folder / "bare.pth")


def rfdetr_like() -> dict[str, Any]:
    backbone = "backbone.0.encoder.encoder."
    model = {
        "class_embed.bias": torch.zeros(2),
        **{f"transformer.decoder.layers.{index}.linear1.weight": torch.zeros(4, 4) for index in range(3)},
        f"{backbone}embeddings.patch_embeddings.projection.weight": torch.zeros(384, 1, 1, 14),
        f"{backbone}embeddings.position_embeddings": torch.zeros(1, 17, 384),
    } | {f"{backbone}encoder.layer.{index}.norm1.bias": torch.zeros(1) for index in range(12)}
    args = argparse.Namespace(resolution=560, class_names=["ball"], num_classes=1)
    return {"model": model, "ema_model": dict(model), "epoch": 7, "args": args, "optimizer": {"state": {}}}


def read_checkpoints(folder: Path) -> object:
    """As `smallsight evaluate` and `--resume` do; all files are read, whatever the first ones give."""
    refused = None
    for path, read in (
        (folder / "ours.pth", _read_ours),
        (folder / "theirs.pth", _read_theirs),
        (folder / "bare.pth", _take_up_theirs),
    ):
        is_ours(path)
        try:
            read(path)
        except SmallsightError as error:
            refused = error
    if refused:
        raise refused
    return None


def _read_theirs(path: Path) -> object:
    return descriptions_of(read_foreign(path))


def _take_up_theirs(path: Path) -> object:
    file = read_foreign(path)
    detector = detector_from_description({**descriptions_of(file)[0], "class_names": ["ball"]}, str(path))
    return detector.start_from(file, detector.class_outputs(file, None, None).taken)


def _read_ours(path: Path) -> object:
    content = load_checkpoint(path)
    check_classes(path, content, ("ball",))
    detector = detector_from_description(content["detector"], str(path))
    load_weights(detector, content["ema_model"], path)
    return int(content["resolution"]), int(content["epoch"])


def write_history(folder: Path) -> None:
    (folder / "epochs.json").write_text(
        '{"metrics": {"20": {"map_50_95": 0.661, "map_small": 0.527, "train_loss": 4.2, "loss_parts": {"box": 1.5},'
        ' "intervals": {"map_small": [0.5, 0.6]}, "n": {"map_small": 40}, "phase": "one", "attempt": 1},'
        ' "21": {"map_50_95": 0.67, "map_small": -1, "val_loss": null}}}'
    )


def read_recorded(folder: Path) -> object:
    return _reported(folder / "epochs.json")


def _reported(path: Path) -> object:
    history = history_of(path)
    analysis = analyse(history)
    print_summary(Console(file=io.StringIO()), history, analysis, None, None)
    return to_document(history, analysis, None), render_report(history)


def write_detections(folder: Path) -> None:
    found = Detections(np.ones((3, 4), np.float32), np.ones(3, np.float32), np.zeros(3, np.int64))
    save_detections(folder / "found.npz", [found, found], [1, 2])


def read_detections(folder: Path) -> object:
    return load_detections(folder / "found.npz")


def write_run(folder: Path) -> None:
    phase = {"name": "more", "epochs": 2}
    plan = Plan.model_validate({"phases": [phase]})
    Lab(folder, {"baseline": [[0.4, 0.5]], "more": [[0.52, 0.55]]}, plan).optimize()


def read_run(folder: Path) -> object:
    return as_lines(status_of(folder)), read_state(folder), _reported(folder)


def write_events(folder: Path) -> None:
    write_run(folder)
    with Journal(folder / JOURNAL, read_only=True) as journal:
        _write_events(folder, journal.events())


def write_earlier_events(folder: Path) -> None:
    write_run(folder)
    with Journal(folder / JOURNAL, read_only=True) as journal:
        _write_events(folder, as_in_0_1_0(journal.events()))


def _write_events(folder: Path, events: Iterable[Event]) -> None:
    (folder / "events.json").write_text(json.dumps([[event.kind, event.content] for event in events]))


def read_events(folder: Path) -> object:
    """A sound journal whose events say odd things."""
    (folder / JOURNAL).unlink(missing_ok=True)
    events = json.loads((folder / "events.json").read_bytes())
    with Journal(folder / JOURNAL) as journal:
        journal._connection.execute("pragma synchronous=off")
        for kind, content in events:
            journal._connection.execute(
                "insert into events (at, elapsed_s, kind, content) values (0, 0, ?, ?)", (kind, json.dumps(content))
            )
    return read_run(folder)


IMAGES = ("a.jpg", "a.png", "a.bmp", "a.webp", "a.tiff", "a.jp2")
READERS = {
    "configuration": Reader(write_configuration, {"run.yaml": "yaml", "override": "text"}, read_configuration),
    "strategy": Reader(write_strategy, {"plan.yaml": "yaml"}, read_strategy),
    "coco": Reader(write_coco_set, {ANNOTATIONS: "json"}, read_coco_set),
    "yolo": Reader(write_yolo_set, {"set/data.yaml": "yaml", "set/labels/frame_000.txt": "text"}, read_yolo_set),
    "checkpoint": Reader(write_checkpoints, {"ours.pth": "checkpoint", "theirs.pth": "checkpoint"}, read_checkpoints),
    "voc": Reader(write_voc_set, {"frame_000.xml": "text"}, read_voc_set),
    "image": Reader(write_image, dict.fromkeys(IMAGES, "bytes"), read_image),
    "history": Reader(write_history, {"epochs.json": "json"}, read_recorded),
    "detections": Reader(write_detections, {"found.npz": "archive"}, read_detections),
    "journal": Reader(write_run, {JOURNAL: "bytes"}, read_run),
    "events": Reader(write_events, {"events.json": "events"}, read_events),
    "events_0_1_0": Reader(write_earlier_events, {"events.json": "events"}, read_events),
}
