"""What a run writes down: its journal with the state that follows from it, and the files that it begins with."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from smallsight.config.load import Config
from smallsight.config.yaml_files import to_yaml
from smallsight.files import write_text_atomically
from smallsight.records import Decision, to_json
from smallsight.run.fold import fold
from smallsight.run.folder import RunFolder
from smallsight.run.foreign_files import refuse_lost_journal, set_foreign_aside
from smallsight.run.given import Origin
from smallsight.run.journal import Journal
from smallsight.run.state import PhaseAttempt
from smallsight.strategy.means import Means
from smallsight.strategy.plan import Plan
from smallsight.strategy.same_run import refuse_other_settings, refuse_other_start


class Recording:
    """One run folder with its journal. The state is always that of the journal."""

    def __init__(self, folder: Path, journal: Journal, means: Means) -> None:
        self.folder, self.journal, self.means = folder, journal, means
        self.state = fold(journal.events())

    def write(self, kind: str, **content: Any) -> None:
        """Append to the journal and bring the state up to date."""
        self.state = fold([self.journal.append(kind, **content)], self.state)

    def write_of(self, at: PhaseAttempt, kind: str, **content: Any) -> PhaseAttempt:
        """`write` what concerns an attempt; the attempt as it is then."""
        self.write(kind, **at.address, **content)
        return self.state.at(at.address)

    def write_decision(self, decision: Decision, **content: Any) -> None:
        """`write` a decision; one to run a phase or a round begins it."""
        begun = {"phase": len(self.state.runs) + 1} if decision.action != "stop" else {}
        self.write("decided", **begun, decision=to_json(decision), **content)

    def begin(self, config: Config, plan: Plan, run_kind: str, origin: Origin, resume: str = "") -> None:
        """Write down what this run is, or make sure that it still is what it was.

        Args:
            resume: what the first phase starts from, where the run as a whole has no origin.
        Raises:
            RunFolderError: the folder holds a run with other settings, or one whose journal is lost.
        """
        if self.state.created:
            if run_kind == "optimize" or self.state.kind != run_kind:
                refuse_other_settings(self.folder, self.state, config, plan, run_kind)
                refuse_other_start(self.folder, self.state, origin.resume)
                self._set_goal(plan)
            return
        refuse_lost_journal(self.folder)
        files = RunFolder(self.folder)
        texts = {files.config.name: to_yaml(config.to_dict()), files.strategy.name: to_yaml(plan.to_dict())}
        for line in set_foreign_aside(self.folder, texts, origin.resume or resume):
            self.means.watcher.note(line)
        for name, text in texts.items():
            write_text_atomically(self.folder / name, text)
        self.write(
            "created",
            config=config.to_dict(),
            plan=plan.to_dict(),
            run_id=uuid.uuid4().hex,
            run_kind=run_kind,
            resume=origin.resume,
            resumed_epoch=origin.resumed_epoch,
            annotations=dict(origin.annotations),
        )

    def _set_goal(self, plan: Plan) -> None:
        """Take over another level to stop at; a run that has ended at the one before goes on to it."""
        before, now = self.state.plan["target"]["stop_at"], plan.target.stop_at
        if now != before:
            self.write("goal", stop_at=now)
            write_text_atomically(RunFolder(self.folder).strategy, to_yaml(plan.to_dict()))
            self.means.watcher.note(f"target.stop_at is now {now}; it was {before}.")
