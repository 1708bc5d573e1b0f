"""Read a recorded file for a report by a configuration and a strategy."""

from __future__ import annotations

from pathlib import Path

from smallsight.commands.inputs import read_plan, run_folder
from smallsight.config.load import LoadedConfig, load_config
from smallsight.errors import ConfigError
from smallsight.report.history import History
from smallsight.report.recorded_files import read_history
from smallsight.report.under_strategy import target_of, under_strategy
from smallsight.run.folder import RunFolder
from smallsight.run.given import Call
from smallsight.strategy.plan import Plan


def recorded_history(path: Path, config_path: Path, strategy_path: Path | None = None) -> History:
    """Read the epochs in a recorded file, and combine them with a configuration and a strategy.

    The report then also names settings that limit small objects, and what the strategy would do next.

    Args:
        path: the file, or a folder that holds it under the report's name.
        config_path: the configuration of their training, or of the next training.
        strategy_path: the strategy to judge by; the default one where None.
    Raises:
        HistoryError, ConfigError: a file can't be read; `path` is a run folder, which knows its configuration.
    """
    if RunFolder(path).has_journal:
        raise ConfigError(f"--config: {path} is a run folder, which knows its own configuration. Leave --config out.")
    plan = read_plan(strategy_path)
    file = RunFolder(path).report if path.is_dir() else path
    loaded = load_config(config_path)
    return configured(read_history(file, target_of(plan)), loaded, plan)


def configured(history: History, loaded: LoadedConfig, plan: Plan) -> History:
    """A recorded or empty history with a configuration, a plan, and the command to train on with."""
    folder = run_folder(loaded)
    call = Call(("smallsight", "train"), loaded.source, str(folder))
    start = loaded.config.checkpoint.resume_from or str(RunFolder(folder).checkpoint)
    return under_strategy(history, plan, loaded.config, call, start)
