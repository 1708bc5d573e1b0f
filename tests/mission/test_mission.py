"""The page on the strategy document has a row for each of its statements; `make mission` shows what happens."""

from __future__ import annotations

from pathlib import Path

from mission.checks import CHECKS
from mission.document import CONFIGS, PHASE_1, PHASE_2, PHASE_3A
from mission.play import steps
from mission.stage import REPOSITORY, Size
from smallsight.config.load import load_config


def rows() -> list[list[str]]:
    text = (REPOSITORY / "docs" / "mission.md").read_text()
    table = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def test_the_page_has_a_row_for_each_statement() -> None:
    wanted = [[each.statement, f"`{each.command}`"] for each in CHECKS]
    assert [row[:2] for row in rows()[1:]] == wanted
    assert all(len(row) == 3 and row[2] and "partly" not in row[2] for row in rows()[1:])


def test_the_documents_commands_are_played_as_they_stand() -> None:
    played = [command for _, command, _ in steps(Size())]
    assert [command for command in played if command in (PHASE_1, PHASE_2, PHASE_3A)] == [PHASE_1, PHASE_2, PHASE_3A]


def test_the_configurations_that_the_document_names_are_shipped_as_it_says() -> None:
    for name, wanted in CONFIGS.items():
        config = load_config(Path(REPOSITORY / "configs" / f"{name}.yaml")).config
        training = config.training
        assert training.resolution == wanted["resolution"]
        assert (config.checkpoint.start_epoch, training.epochs) == (wanted["start_epoch"], wanted["epochs"])
        assert (training.batch_size, training.grad_accum_steps, training.learning_rate) == (2, 20, 0.0002)
