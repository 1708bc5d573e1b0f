"""Histories to report on."""

from __future__ import annotations

import pytest

from builders import RECORDED_MAP_SMALL
from smallsight.records import Decision, EpochRecord, Estimate, Verdict
from smallsight.report.history import History, PhaseStory

EPOCHS, MAP_SMALL = list(RECORDED_MAP_SMALL), list(RECORDED_MAP_SMALL.values())


@pytest.fixture
def recorded() -> History:
    """The epochs of a recorded run: 17, three missing."""
    return History(
        source="epochs.json",
        records=tuple(
            EpochRecord(epoch, "recorded", 1, {"map_small": Estimate(value), "map_50_95": Estimate(0.68)})
            for epoch, value in zip(EPOCHS, MAP_SMALL, strict=True)
        ),
    )


@pytest.fixture
def run() -> History:
    """A run that stopped after two phases, the second without evidence; its names carry markup."""
    baseline = EpochRecord(0, "baseline", 1, {"map_small": Estimate(0.50, 0.46, 0.54, 80)})
    records = tuple(
        EpochRecord(
            epoch,
            "[red]x[/]" if epoch < 7 else "multi_scale",
            1,
            {"map_small": Estimate(0.50 + 0.01 * epoch, 0.46, 0.70, 80), "map_50_95": Estimate(0.7, 0.6, 0.8, 200)},
            train_loss=5.0 - 0.1 * epoch,
        )
        for epoch in range(1, 13)
    )
    gained = Verdict("improved", Estimate(0.06, 0.02, 0.10, 40), Estimate(0.01, -0.01, 0.03, 40), "it rose")
    unclear = Verdict("no_evidence", Estimate(0.01, -0.02, 0.02, 40), Estimate(0.0, -0.01, 0.01, 40), "nothing seen")
    return History(
        source="runs/[bold]one",
        records=records,
        phases=(
            PhaseStory("[red]x[/]", "Go on [/]", 1, 6, "improved", (0.02, 0.04), gained, "it rose", 60.0),
            PhaseStory("multi_scale", "Scales", 7, 12, "no_evidence", (0.03, 0.05), unclear, "nothing seen", 70.0),
        ),
        decisions=(
            Decision("run", "[link=x]still[/link] rising", "[red]x[/]", {"training.epochs": "[b]6"}, 6),
            Decision("run", "below the target", "multi_scale", {"training.multi_scale": True}, 6),
            Decision("stop", "nothing is left to try"),
        ),
        baseline=baseline,
        champion=records[5],
        config={"training": {"multi_scale": False, "num_workers": 0, "device": "cuda:0"}},
        champion_path="runs/[bold]one/checkpoint_best.pth",
        finished=True,
    )
