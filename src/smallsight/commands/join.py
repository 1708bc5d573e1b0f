"""A further machine's part in a run: its processes join those of every attempt, until the run has ended. No torch here.

The run folder, the data and the environment have to be there under the same paths, as on a shared file system.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from smallsight.attempts.child import Workers
from smallsight.attempts.rendezvous import Rendezvous, announced
from smallsight.attempts.spec import AttemptSpec
from smallsight.errors import EXIT_DONE, EXIT_INTERRUPTED, ConfigError, Interrupted, RunFolderError
from smallsight.run.fold import read_state
from smallsight.run.folder import AttemptFolder, RunFolder

LOOK_EVERY_S = 0.5
NEVER_S = 1e9
"""No time limit: only the runner detects a hang. Processes here send nothing while the leading one evaluates."""


def join(run: Path, node: int, say: Callable[[str], None]) -> None:
    """Take part in the attempts of the run in a folder, also where it has not begun yet.

    Args:
        run: the run folder.
        node: which of its machines this is, from 1; the runner's is 0.
        say: called with a line when an attempt or the run begins or ends.
    Raises:
        ConfigError: the run has no machine of that number.
        RunFolderError: the folder above the run folder is not there.
        Interrupted: a stop was requested; what was trained is saved, where the leader was reached.
    """
    if not run.parent.is_dir():
        raise RunFolderError(f"{run}: there is no folder {run.parent}. Give the --output-dir of the run.")
    say(f"Waiting for {run} to train on several machines.")
    if RunFolder(run).has_journal and read_state(run).config.get("training", {}).get("num_nodes", 1) == 1:
        say(f"{run} holds a run on one machine so far. To use several, start it with training.num_nodes of 2 or more.")
    latest = ""
    while not _has_ended(run):
        meeting = announced(run)
        if meeting is None or meeting.key == latest:
            time.sleep(LOOK_EVERY_S)
            continue
        latest = meeting.key
        if not 1 <= node < meeting.nodes:
            raise ConfigError(f"--node: this run has machines 0 to {meeting.nodes - 1}, 0 is the runner's; got {node}.")
        _take_part(meeting, node, say)
    say("The run has ended.")


def _take_part(meeting: Rendezvous, node: int, say: Callable[[str], None]) -> None:
    spec = AttemptSpec.load(Path(meeting.spec))
    log = AttemptFolder(Path(spec.folder)).log_of_node(node)
    say(f"Phase {spec.phase}, attempt {spec.attempt}: machine {node} of 0 to {meeting.nodes - 1} takes part.")
    with Workers(meeting, node, log, NEVER_S) as workers:
        for _ in workers.messages():
            continue  # the leading process reports for all
        code, failure = workers.outcome()
    if workers.asked_to_stop:
        raise Interrupted("this machine has left the run; the run has stopped and saved its state")
    if code not in (EXIT_DONE, EXIT_INTERRUPTED):
        meeting.write_failure(node, code, failure)
    reason = (failure and failure.message) or f"exit code {code}"
    say("Done." if code == EXIT_DONE else f"Ended: {reason}; see {log}")


def _has_ended(run: Path) -> bool:
    """Whether the journal says that the run has ended; False where there is none yet or it is just being created."""
    try:
        return RunFolder(run).has_journal and read_state(run).done
    except RunFolderError:
        return False
