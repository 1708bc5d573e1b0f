"""Where attempts are carried out: on this machine, several at a time, or on a Ray cluster (`--workers`)."""

from __future__ import annotations

from smallsight.attempts.conversation import OnProgress
from smallsight.attempts.jobs import Trainer
from smallsight.attempts.local import LocalTrainer
from smallsight.errors import ConfigError


def read_workers(text: str | None) -> int | str | None:
    """The value of `--workers`: a number, or a cluster's address; None where it is not given.

    Raises:
        ConfigError: it is something else.
    """
    if text is None or text == "auto" or (text.startswith("ray://") and len(text) > len("ray://")):
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise ConfigError(f"--workers: got {text!r}, expected a number from 1, auto, or ray://HOST:10001.")


def trainer_of(workers: int | str | None, on_progress: OnProgress) -> Trainer:
    """What carries attempts out, for a value that `read_workers` gave.

    Raises:
        ConfigError: Ray is asked for and is not installed.
    """
    if not isinstance(workers, str):
        return LocalTrainer(on_progress, workers)
    try:
        from smallsight.attempts.ray import RayTrainer
    except ModuleNotFoundError as error:
        raise ConfigError(f'--workers {workers}: needs Ray. Run pip install "smallsight[ray]".') from error
    return RayTrainer(workers, on_progress)
