"""Weights from elsewhere in an RF-DETR of ours: which output of a foreign head is which class, what else differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smallsight.detectors.base import Detector
from smallsight.detectors.rfdetr_files import RFDetrFile, positional_side
from smallsight.errors import CheckpointError
from smallsight.rfdetr_sizes import SIZES

_PREFIX = "model."
_HEADS = ("class_embed.", "transformer.enc_out_class_embed.")
_POSITIONS = "embeddings.position_embeddings"
_MADE_ANEW = ("_kp_active_mask",)
"""Entries that later versions added and that hold nothing for boxes."""


@dataclass(frozen=True, eq=False)
class Start:
    """What a foreign file gives a detector to start from.

    Attributes:
        model, average: complete states of the detector.
        outputs: for each class, which output of the file's head it goes on with; None for one that starts anew.
        notes: in words, what was decided and what does not carry over.
    """

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    outputs: tuple[int | None, ...]
    notes: tuple[str, ...]


def start_from(
    file: RFDetrFile,
    detector: Detector,
    category_ids: Sequence[int] | None = None,
    outputs: Sequence[int] | None = None,
) -> Start:
    """The states of `detector` with the weights of a file in them; the detector itself stays as it is.

    Args:
        file: of the same size.
        detector: an RF-DETR with fresh weights.
        category_ids: the annotation file's id of each of the detector's classes; files up to 1.4 are numbered by it.
        outputs: which output of the file's head each class is, where the user says so.
    Raises:
        CheckpointError: another size; weights that are missing or of another shape; an output that is not there.
    """
    size = str(detector.description()["size"])
    file.refuse_other_size(size)
    taken, note = _outputs(file, detector.class_names, category_ids, outputs)
    fresh = {key.removeprefix(_PREFIX): value for key, value in detector.state_dict().items()}
    model = _fitted(file, file.model, fresh, taken)
    average = model if file.average is None else _fitted(file, file.average, fresh, taken)
    notes = [note, *file.left_behind]
    if file.average is None:
        notes.append("no average (EMA) in the file: the average starts from its weights")
    if file.epoch is None:
        notes.append("no epoch in the file: it counts as 0; checkpoint.start_epoch says otherwise")
    side = SIZES[size].positional_side
    if positional_side(file.model) != side:
        notes.append(f"its grid of positions was {positional_side(file.model)} wide and is resampled to {side}")
    return Start(_prefixed(model), _prefixed(average), taken, tuple(notes))


def as_checkpoint(file: RFDetrFile, start: Start, detector: Detector, resolution: int) -> dict[str, Any]:
    """A file as the content of a lightweight checkpoint of ours.

    Args:
        resolution: px, taken where the file does not say.
    """
    return {
        "detector": dict(detector.description()),
        "class_names": list(detector.class_names),
        "resolution": file.resolution or resolution,
        "epoch": file.epoch or 0,
        "model": start.model,
        "ema_model": start.average,
        "metrics": {},
    }


def _prefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_PREFIX}{key}": value.clone() for key, value in state.items()}


def _outputs(
    file: RFDetrFile, names: Sequence[str], category_ids: Sequence[int] | None, wanted: Sequence[int] | None
) -> tuple[tuple[int | None, ...], str]:
    """Which output of the file's head each class goes on with, and a sentence on it."""
    last = file.outputs - 1
    if wanted is not None:
        if len(wanted) != len(names) or not all(0 <= output <= last for output in wanted):
            raise CheckpointError(f"{file.path}: its head has the outputs 0 to {last}; got {list(wanted)} to take.")
        return tuple(wanted), f"class head: output {_listed(wanted)} taken as asked for"
    known = file.class_names
    if known and not set(names) & set(known) and not len(names) == len(known) == 1:
        return (None,) * len(names), f"class head: starts anew; the file knows {_listed(known)}, not {_listed(names)}"
    if not known and last > len(names) + 1:
        return (None,) * len(names), f"class head: starts anew; the file's is one of {last} classes without names"
    found = tuple(_output(file, names, index, category_ids) for index in range(len(names)))
    meant = [f"{name} is output {'anew' if at is None else at}" for name, at in zip(names, found, strict=True)]
    return found, f"class head: {', '.join(meant)} of 0 to {last}, by the {_RULES[file.numbering]}"


_RULES = {
    "category_id": "category id, as files up to RF-DETR 1.4 are numbered",
    "position": "position among the categories, as files since RF-DETR 1.5 are numbered",
}


def _output(file: RFDetrFile, names: Sequence[str], index: int, category_ids: Sequence[int] | None) -> int | None:
    """The output of one class.

    Up to 1.4 it is the category's id. From 1.5 to 1.9 it is the position among all categories of the annotation file, a
    parent that comes first (Roboflow's) included; the head is then larger than the list of class names. Since 1.10
    parents are left out.
    """
    known, last = file.class_names, file.outputs - 1
    if known and names[index] in known:
        position = known.index(names[index])
    elif not known or len(known) == len(names) == 1:
        position = index
    else:
        return None
    if file.numbering == "category_id":
        output = category_ids[index] if category_ids is not None else position + 1
    else:
        parents = 0 if category_ids is not None and 0 in category_ids else max(0, last - len(known or names))
        output = position + parents
    return output if 0 <= output <= last else None


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def _fitted(
    file: RFDetrFile, found: Mapping[str, Tensor], fresh: Mapping[str, Tensor], outputs: Sequence[int | None]
) -> dict[str, Tensor]:
    """`found` in the shapes of `fresh`."""
    result = {}
    for key, own in fresh.items():
        value = found.get(key)
        if key.startswith(_MADE_ANEW):
            value = own
        elif value is not None and key.startswith(_HEADS):
            value = _head(value, own, outputs)
        elif value is not None and key.endswith(_POSITIONS):
            value = _resampled(value, own)
        if value is None or value.shape != own.shape:
            got = "nothing" if value is None else list(value.shape)
            raise CheckpointError(
                f"{file.path}: does not fit; got {got} for {key}, expected {list(own.shape)}. "
                "Was it trained with other settings of the network (queries, groups) than the size's own?"
            )
        result[key] = value.to(own.dtype)
    return result


def _head(found: Tensor, own: Tensor, outputs: Sequence[int | None]) -> Tensor:
    """A class head (outputs, ...) in our order; the spare output goes on with one that no class has taken."""
    spare = next((at for at in reversed(range(len(found))) if at not in outputs), None)
    rows = [own[at] if taken is None else found[taken] for at, taken in enumerate([*outputs, spare])]
    return torch.stack(rows)


def _resampled(found: Tensor, own: Tensor) -> Tensor:
    """Learnt positions (1, 1 + side^2, width) on our grid; the first one, the class token's, stays."""
    if found.shape == own.shape:
        return found
    old, new = (int((grid.shape[1] - 1) ** 0.5) for grid in (found, own))
    grid = found[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=True)
    return torch.cat([found[:, :1], grid.permute(0, 2, 3, 1).reshape(1, new * new, -1).to(found.dtype)], dim=1)
