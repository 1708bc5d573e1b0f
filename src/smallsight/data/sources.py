"""Read a labelled set of any format: detect the format, and apply what the user specifies about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from smallsight.data.coco import CocoReading
from smallsight.data.formats.box_forms import COCO_BOXES, VOC_BOXES, YOLO_BOXES, BoxForm, BoxReading
from smallsight.data.formats.coco_any import annotation_files, read_coco_any, why_no_coco
from smallsight.data.formats.folder_files import files_in
from smallsight.data.formats.id_shift import ShiftKey
from smallsight.data.formats.image_sizes import SizeRule
from smallsight.data.formats.labelled_set import LabelledSet
from smallsight.data.formats.voc import VocCorners, VocReading, is_voc, read_voc
from smallsight.data.formats.yolo import read_yolo
from smallsight.data.formats.yolo_description import description_in
from smallsight.errors import DatasetError

Kind = Literal["auto", "coco", "yolo", "voc"]


@dataclass(frozen=True)
class SourceReading:
    """What the user specifies about a source; None and the defaults are the format's own rules.

    Attributes:
        boxes: what the four numbers of a box are.
        frame_wh: size of the frame that boxes are given in; `image` is the image in px, (1, 1) shares of it.
        shift: number to add to the ids in annotations; COCO.
        sizes: what to do where the size in a label file differs from the image's; COCO and VOC.
        voc_corners: what the corners in VOC files mean, see `formats.voc`.
    """

    boxes: BoxForm | None = None
    frame_wh: tuple[float, float] | Literal["image"] | None = None
    shift: Mapping[ShiftKey, int] = field(default_factory=lambda: MappingProxyType({}))
    sizes: SizeRule = "check"
    voc_corners: VocCorners = "pixels"

    def of(self, standard: BoxReading) -> BoxReading | None:
        """How boxes are read in a format with this standard; None where the user specifies nothing else."""
        if self.boxes is None and self.frame_wh is None:
            return None
        frame_wh = standard.frame_wh if self.frame_wh is None else None if self.frame_wh == "image" else self.frame_wh
        return BoxReading(self.boxes or standard.form, frame_wh)

    def refuse_without_effect(self, source: Path, kind: str) -> None:
        """Refuse options that the format does not have.

        Raises:
            DatasetError: an option would change nothing.
        """
        given = {
            "--shift": (bool(self.shift), ("coco",)),
            "--sizes": (self.sizes != "check", ("coco", "voc")),
            "--voc-corners": (self.voc_corners != "pixels", ("voc",)),
        }
        for option, (is_given, kinds) in given.items():
            if is_given and kind not in kinds:
                others = " and ".join(kinds)
                raise DatasetError(f"{source}: {option} is for {others}; this source is {kind}. Leave it out.")


def read_source(source: Path, kind: Kind = "auto", reading: SourceReading | None = None) -> LabelledSet:
    """Read a set of any format.

    Raises:
        DatasetError: it is not there or of no known format; `reading` asks for what its format does not have; a class
            has a control character in its name; see the readers in `formats`.
    """
    if not source.exists():
        raise DatasetError(f"{source}: no such file or folder. Give a folder with images and labels.")
    reading = reading or SourceReading()
    readers: dict[str, Callable[[], LabelledSet]] = {
        "coco": lambda: read_coco_any(source, CocoReading(reading.of(COCO_BOXES), reading.shift, reading.sizes)),
        "yolo": lambda: read_yolo(source, reading.of(YOLO_BOXES)),
        "voc": lambda: read_voc(source, VocReading(reading.voc_corners, reading.of(VOC_BOXES), reading.sizes)),
    }
    found = detect_kind(source) if kind == "auto" else kind
    reading.refuse_without_effect(source, found)
    labelled = readers[found]()
    for name in labelled.class_names:
        if not name.isprintable():
            raise DatasetError(f"{source}: the class name {name!a} can't be written everywhere. Rename the class.")
    return labelled


def detect_kind(source: Path) -> Literal["coco", "yolo", "voc"]:
    """The format of a set, from its files.

    Raises:
        DatasetError: none or several formats are found.
    """
    if source.is_file():
        found = {".yaml": "yolo", ".yml": "yolo", ".json": "coco"}.get(source.suffix.lower())
        if found is None:
            raise DatasetError(f"{source}: expected a folder, a data.yaml or a COCO file. Give one of them.")
        return "yolo" if found == "yolo" else "coco"
    kinds: list[Literal["coco", "yolo", "voc"]] = []
    if annotation_files(source):
        kinds.append("coco")
    if description_in(source):
        kinds.append("yolo")
    if is_voc(source) or (not kinds and files_in(source, source, (".xml",))):
        kinds.append("voc")
    if not kinds and files_in(source, source, (".txt",)):
        kinds.append("yolo")
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise DatasetError(f"{source}: labels in several formats: {', '.join(kinds)}. Say which one with --from.")
    if reason := why_no_coco(source):
        raise DatasetError(reason)
    raise DatasetError(
        f"{source}: no labels found; expected COCO JSON, YOLO text files or VOC XML. Give the folder above them."
    )
