"""Weights of the embedded detector that another trainer saved: which output is which class, what else differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
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

BOX_OUTPUTS = 4
"""Outputs of the head for the box; they follow those of the classes."""


def class_outputs(file: ForeignFile, names: Sequence[str], wanted: Mapping[str, int] | None) -> ClassOutputs:
    """Which output of the file's head each class starts from: by name, or else by position.

    Raises:
        CheckpointError: what the user names is not there.
    """
    count, known = len(file.model["head.weight"]) - BOX_OUTPUTS, file.class_names
    if wanted is not None:
        return outputs_asked_for(file, names, count, wanted)
    if count == len(names) == 1:
        return ClassOutputs((0,), 1, True, f"class head: its only output is {names[0]}")
    if len(known) == count:
        taken = tuple(known.index(name) if name in known else None for name in names)
        return ClassOutputs(taken, count, True, f"class head: the file knows {listed(known)}; taken by name")
    taken = tuple(at if at < count else None for at in range(len(names)))
    words = f"class head: {count} outputs without names; taken in the order of {listed(names)}"
    return ClassOutputs(taken, count, False, words)


def start_from(file: ForeignFile, fresh: Mapping[str, Tensor], outputs: Sequence[int | None]) -> Start:
    """A complete state for a detector with the weights of a file in it.

    Args:
        file: of the same width.
        fresh: state of the detector, with fresh weights.
        outputs: by class, which output of the file's head it starts from; None for fresh weights.
    Raises:
        CheckpointError: weights that are missing or of another shape.
    """

    def shaped(key: str, found: Tensor | None, own: Tensor) -> Tensor | None:
        if found is None or not key.startswith("head.") or not fits_head(found, own, outputs):
            return found
        rows = [own[at] if taken is None else found[taken] for at, taken in enumerate(outputs)]
        return torch.stack([*rows, *found[-BOX_OUTPUTS:]])

    return Start(*both_fitted(file, fresh, shaped), tuple(common_notes(file)))
