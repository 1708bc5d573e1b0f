"""Whether a folder holds the run that was asked for."""

from __future__ import annotations

from smallsight.config.load import Config
from smallsight.strategy.same_run import phase_settings
from smallsight.strategy.treatment import flatten


def test_a_table_without_entries_tells_no_phase_from_another() -> None:
    """A phase that was recorded before there was such a key is still the same phase."""
    assert flatten(Config().to_dict())["model.options"] == {}
    assert "model.options" not in phase_settings(Config(), "")
