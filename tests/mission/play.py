"""The document's steps, one after the other, in the author's working directory; what each said is kept."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mission.document import CONFIGS, EVALUATION, EVALUATION_ALONE, PHASE_1, PHASE_2, PHASE_3A, SNIPPET
from mission.stage import REPOSITORY, Outcome, Size, Stage, lay, write_config

LOW_MEMORY, MULTI_SCALE, HIGHER_RESOLUTION = CONFIGS
GIVEN = "given/checkpoint_epoch_39.pth"
"""A copy of the author's checkpoint, because phase 1 starts from the file that it then writes."""
OPTIMIZE = f"smallsight optimize --config configs/{LOW_MEMORY}.yaml --resume {GIVEN} --output-dir optimized"
LATER = {
    "lr_half": "training.learning_rate=0.001",
    "copy_paste": "augmentation.copy_paste.enabled=true",
    "mosaic": "augmentation.mosaic={enabled: true, min_bbox_size: 5, border_margin: 10}",
    "loss_weight": "training.small_object_loss_weight=2.0",
}
"""Phases 3B and 4A to 4C by hand: the document asks for a new configuration and gives no epochs; two are trained."""


@dataclass
class Play:
    """What happened.

    Attributes:
        stage: the working directory.
        said: by step, how its command ended.
        reports: by step, the content of `training_evaluation_detailed.json` after it.
        seconds: by step.
    """

    stage: Stage
    said: dict[str, Outcome] = field(default_factory=dict)
    reports: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def act(self, step: str, command: str, *, stdin: str = "") -> Outcome:
        """Run one step and keep what it said."""
        began = time.monotonic()
        self.said[step] = self.stage.run(command, stdin=stdin)
        self.seconds[step] = time.monotonic() - began
        if self.stage.path("training_evaluation_detailed.json").is_file():
            self.reports[step] = self.stage.json("training_evaluation_detailed.json")
        return self.said[step]

    def json_of(self, step: str) -> Any:
        """What a step printed, as JSON."""
        return json.loads(self.said[step].out)


def steps(size: Size) -> Iterator[tuple[str, str, str]]:
    """Name, command and standard input of every step, in order."""
    yield "history", f"smallsight report given/history.json --config configs/{LOW_MEMORY}.yaml", ""
    yield "author", f"smallsight report author.json --config {REPOSITORY}/configs/{LOW_MEMORY}.yaml", ""
    yield "before", EVALUATION.format(config=LOW_MEMORY), ""
    yield "epoch_39", f"smallsight evaluate {GIVEN} data/valid --json", ""
    yield "dry_run", f"{OPTIMIZE} --dry-run", ""
    for number, (command, config) in enumerate(
        ((PHASE_1, LOW_MEMORY), (PHASE_2, MULTI_SCALE), (PHASE_3A, HIGHER_RESOLUTION)), start=1
    ):
        yield f"phase_{number}", command, ""
        yield f"evaluation_{number}", EVALUATION.format(config=config), ""
        yield f"snippet_{number}", "python3 -", SNIPPET
    last = CONFIGS[HIGHER_RESOLUTION]["epochs"]
    for number, (name, setting) in enumerate(LATER.items()):
        first = last + size.later_epochs * number
        yield (
            name,
            (
                f"python scripts/train_ball.py --config configs/{name}.yaml --output-dir models "
                f"--resume models/checkpoints/checkpoint_epoch_{first}_lightweight.pth '{setting}'"
            ),
            "",
        )
    yield "evaluation_alone", EVALUATION_ALONE, ""
    yield "status", "smallsight status models", ""
    yield "optimize", f"{OPTIMIZE} --budget {size.budget_s:.0f}s", ""
    yield "optimize_again", f"{OPTIMIZE} --budget {size.budget_s:.0f}s", ""
    yield "report", "smallsight report optimized --json", ""
    yield "out_of_memory", PHASE_2.rstrip().replace("models ", "small_card ") + " training.memory_budget_mb=60", ""
    yield "compare", "smallsight compare models optimized", ""


def play(folder: Path, size: Size, tell: Callable[[str], None]) -> Play:
    """Lay the stage and go through all steps; none is left out because another failed."""
    began = time.monotonic()
    stage = lay(folder, size)
    (folder / "given").mkdir()
    shutil.copyfile(folder / "models" / "checkpoint.pth", folder / GIVEN)
    shutil.copyfile(folder / "training_evaluation_detailed.json", folder / "given" / "history.json")
    first = CONFIGS[HIGHER_RESOLUTION]["epochs"]
    for name in LATER:
        write_config(
            stage, name, start_epoch=first, epochs=first + size.later_epochs, resolution=1288, multi_scale=True
        )
        first += size.later_epochs
    tell(f"the author's situation: {time.monotonic() - began:.0f} s")
    played = Play(stage)
    for step, command, stdin in steps(size):
        outcome = played.act(step, command, stdin=stdin)
        tell(f"{step}: exit code {outcome.code}, {played.seconds[step]:.0f} s")
    return played
