"""Read a run folder, of a running or an ended run, without changing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.champion import examine
from smallsight.report.document import to_document
from smallsight.report.story import tell
from smallsight.run.fold import read_state
from smallsight.run.folder import RunFolder, is_running
from smallsight.run.state import Champion, State


class Run:
    """A run, read from its folder. Nothing in the folder is changed, and a process may be working on the run.

    The journal is read at the first access. All values are of that moment, and therefore consistent, until `refresh`
    is called.

    Args:
        path: the run folder (`--output-dir`).

    Example:
        >>> import smallsight
        >>> run = smallsight.Run("runs/mine")
        >>> [record.epoch for record in run.records]
        [1, 2]
        >>> run.champion.phase
        'longer'
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._state: State | None = None
        self._report: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def refresh(self) -> Run:
        """Forget what was read; the next access reads the folder again.

        Returns:
            The run itself.

        Example:
            >>> import smallsight
            >>> run = smallsight.Run("runs/mine")
            >>> run.refresh().running
            False
        """
        self._state = self._report = None
        return self

    @property
    def state(self) -> State:
        """Everything in the journal: phases, their attempts, their settings, budget.

        Raises:
            RunFolderError: no run is there, or its journal can't be read.

        Example:
            >>> import smallsight
            >>> state = smallsight.Run("runs/mine").state
            >>> [(phase.name, phase.status) for phase in state.runs]
            [('baseline', 'completed'), ('longer', 'completed')]
        """
        if self._state is None:
            self._state = read_state(self.path)
        return self._state

    @property
    def running(self) -> bool:
        """Whether a process works on the run now.

        Example:
            >>> import smallsight
            >>> smallsight.Run("runs/mine").running
            False
        """
        return is_running(self.path)

    @property
    def records(self) -> tuple[EpochRecord, ...]:
        """A record of each epoch, in order: metrics with intervals, losses, learning rate, time, memory.

        Example:
            >>> import smallsight
            >>> last = smallsight.Run("runs/mine").records[-1]
            >>> last.phase, last.metrics["map_small"].value == last.value("map_small")
            ('longer', True)
        """
        return self.state.records

    @property
    def champion(self) -> Champion | None:
        """The best checkpoint so far, with its epoch's record and its settings; None before the first.

        Example:
            >>> import smallsight
            >>> champion = smallsight.Run("runs/mine").champion
            >>> champion.phase, champion.record.epoch
            ('longer', 2)
        """
        return self.state.champion

    @property
    def champion_path(self) -> Path | None:
        """The champion's file; None while there is no champion.

        Example:
            >>> import smallsight
            >>> smallsight.Run("runs/mine").champion_path.name
            'checkpoint_best.pth'
        """
        return RunFolder(self.path).champion if self.state.champion else None

    @property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The verdict on each phase against the champion before it, by the name of the phase's folder.

        A phase without a verdict is left out: it has not ended, has failed, or had nothing to be compared with. A phase
        by hand is compared with the checkpoint that it started from.

        Example:
            >>> import smallsight
            >>> verdict = smallsight.Run("runs/mine").verdicts["02_longer"]
            >>> verdict.outcome in ("improved", "kept", "no_evidence", "regressed"), verdict.reason != ""
            (True, True)
        """
        judged = ((run, run.over_start or run.verdict) for run in self.state.runs)
        return {
            RunFolder(self.path).phase(r.number, r.name).name: verdict for r, verdict in judged if verdict is not None
        }

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Why each phase was begun, in order, and then why the run stopped.

        Example:
            >>> import smallsight
            >>> [(decision.action, decision.phase) for decision in smallsight.Run("runs/mine").decisions]
            [('run', 'baseline'), ('run', 'longer'), ('stop', '')]
        """
        return (*(run.decision for run in self.state.runs), *self.state.stops)

    def report(self) -> Mapping[str, Any]:
        """The report as plain values, as `smallsight report --json` prints it.

        The champion's detections are analysed again, which takes seconds, on large sets minutes. Parts that can't be
        computed, because images are missing, are listed in `left_out` of `evidence`.

        Raises:
            RunFolderError: no run is there, or its journal can't be read.

        Example:
            >>> import smallsight
            >>> document = smallsight.Run("runs/mine").report()
            >>> sorted(document["metrics"]), document["champion"]["epoch"]
            (['1', '2'], 2)
        """
        if self._report is None:
            history = tell(self.path, self.state, running=self.running)
            self._report = to_document(history, analyse(history), examine(self.path, self.state))
        return self._report
