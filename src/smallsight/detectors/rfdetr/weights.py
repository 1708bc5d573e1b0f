"""Weights of another trainer's file for an `RFDetrDetector`: which output is which class, and what else differs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from smallsight.detectors.foreign import (
    ClassOutputs,
    ForeignFile,
    Start,
    both_fitted,
    common_notes,
    fits_head,
    listed,
    outputs_asked_for,
)
from smallsight.detectors.rfdetr.files import numbering, positional_side

_PREFIX = "model."
_HEADS = ("class_embed.", "transformer.enc_out_class_embed.")
_POSITIONS = "embeddings.position_embeddings"
_MADE_ANEW = ("_kp_active_mask",)
"""Entries that later versions added and that hold nothing for boxes."""
_LARGEST_SIDE = 256
"""Largest side of a grid of learnt positions, in patches."""
_PRIOR_BIAS = math.log(0.01 / 0.99)
"""Bias of every output before training. Objects raise the bias of their class's output; background lowers the others'.
"""
_RULES = {
    "category_id": "category id, as files up to RF-DETR 1.4 are numbered",
    "position": "position among the categories, as files since RF-DETR 1.5 are numbered",
}


def class_outputs(
    file: ForeignFile,
    names: Sequence[str],
    category_ids: Sequence[int] | None,
    wanted: Mapping[str, int] | None,
) -> ClassOutputs:
    """Which output of the file's head each class starts from.

    Args:
        names: of the detector's classes.
        category_ids: the annotation file's id of each class; files up to 1.4 are numbered by it.
        wanted: outputs that the user names.
    Raises:
        CheckpointError: what the user names is not there.
    """
    count, known = len(file.model["class_embed.bias"]), file.class_names
    if wanted is not None:
        return outputs_asked_for(file, names, count, wanted)
    anew: tuple[int | None, ...] = (None,) * len(names)
    if known and not set(names) & set(known) and not len(names) == len(known) == 1:
        words = f"class head: starts anew; the file knows {listed(known)}, not {listed(names)}"
        return ClassOutputs(anew, count, True, words)
    if not known and count > len(names) + 2:
        words = f"class head: starts anew; the file's has {count} outputs without names"
        return ClassOutputs(anew, count, False, words)
    rule = numbering(file)
    risen = _risen_outputs(file) if rule == "unknown" else ()
    if len(risen) == len(names):
        found, reason = risen, "the outputs whose bias rose in training"
    else:
        by_id = rule == "category_id"
        found = tuple(_output(known, count, names, index, category_ids, by_id=by_id) for index in range(len(names)))
        reason = f"the {_RULES['category_id' if by_id else 'position']}"
    meant = [f"{name} is output {'anew' if at is None else at}" for name, at in zip(names, found, strict=True)]
    words = f"class head: {', '.join(meant)} of 0 to {count - 1}, by {reason}"
    return ClassOutputs(found, count, rule != "unknown" and None not in found, words)


def _risen_outputs(file: ForeignFile) -> tuple[int | None, ...]:
    """The outputs whose biases lie above the value that they start from in all heads, the others' below it."""
    heads = [value for key, value in file.model.items() if key.startswith(_HEADS) and key.endswith("bias")]
    above = torch.stack(heads) > _PRIOR_BIAS
    return tuple(torch.nonzero(above[0]).flatten().tolist()) if bool((above == above[0]).all()) else ()


def _output(
    known: Sequence[str],
    count: int,
    names: Sequence[str],
    index: int,
    category_ids: Sequence[int] | None,
    *,
    by_id: bool,
) -> int | None:
    """The output of one class.

    Up to 1.4 it is the category's id. From 1.5 to 1.9 it is the position among all categories of the annotation file, a
    parent that comes first (Roboflow's) included; the head is then larger than the list of class names. Since 1.10
    parents are left out.
    """
    if known and names[index] in known:
        position = known.index(names[index])
    elif not known or len(known) == len(names) == 1:
        position = index
    else:
        return None
    if by_id:
        output = category_ids[index] if category_ids is not None else position + 1
    else:
        has_parents = category_ids is None or 0 not in category_ids
        output = position + (max(0, count - 1 - len(known or names)) if has_parents else 0)
    return output if 0 <= output < count else None


def start_from(file: ForeignFile, fresh: Mapping[str, Tensor], outputs: Sequence[int | None]) -> Start:
    """A complete state for a detector with the weights of a file in it.

    Args:
        file: of the same size.
        fresh: state of the detector, with fresh weights.
        outputs: by class, which output of the file's head it starts from; None for fresh weights.
    Raises:
        CheckpointError: weights that are missing or of another shape.
    """
    own = {key.removeprefix(_PREFIX): value for key, value in fresh.items()}

    def shaped(key: str, found: Tensor | None, fresh_one: Tensor) -> Tensor | None:
        if key.startswith(_MADE_ANEW):
            return fresh_one
        if found is not None and key.startswith(_HEADS) and fits_head(found, fresh_one, outputs):
            return _head(found, fresh_one, outputs)
        if found is not None and key.endswith(_POSITIONS) and _is_grid(found, fresh_one):
            return _resampled(found, fresh_one)
        return found

    model, average = both_fitted(file, own, shaped)
    notes = [*common_notes(file)]
    side = positional_side(own)
    if positional_side(file.model) != side:
        notes.append(f"its grid of positions was {positional_side(file.model)} wide and is resampled to {side}")
    return Start(_prefixed(model), _prefixed(average), tuple(notes))


def _prefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_PREFIX}{key}": value for key, value in state.items()}


def _head(found: Tensor, own: Tensor, outputs: Sequence[int | None]) -> Tensor:
    """A class head (outputs, ...) in the detector's order; the spare output starts from one that no class has taken."""
    spare = next((at for at in reversed(range(len(found))) if at not in outputs), None)
    rows = [own[at] if taken is None else found[taken] for at, taken in enumerate([*outputs, spare])]
    return torch.stack(rows)


def _is_grid(found: Tensor, own: Tensor) -> bool:
    """Whether both are learnt positions of a square grid, with the same number of channels."""
    if found.ndim != 3 or found.shape[::2] != own.shape[::2]:
        return False
    side = math.isqrt(max(found.shape[1] - 1, 0))
    return 0 < side <= _LARGEST_SIDE and found.shape[1] == 1 + side * side


def _resampled(found: Tensor, own: Tensor) -> Tensor:
    """Learnt positions (1, 1 + side^2, width) resampled to the detector's grid; the first, the class token's, stays."""
    if found.shape == own.shape:
        return found
    old, new = (int((grid.shape[1] - 1) ** 0.5) for grid in (found, own))
    grid = found[:, 1:].reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=True)
    return torch.cat([found[:, :1], grid.permute(0, 2, 3, 1).reshape(1, new * new, -1).to(found.dtype)], dim=1)
