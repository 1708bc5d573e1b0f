"""Attempts on two Ray nodes of this machine: the records and weights of one after another, also where a node dies."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import smallsight
from smallsight.attempts.jobs import Job
from smallsight.attempts.local import LocalTrainer
from smallsight.attempts.messages import Note, SignOfLife, Step
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.detectors.checkpoint import load_checkpoint
from smallsight.errors import ConfigError, Interrupted
from smallsight.records import EpochRecord
from training.frames import attempt_spec, tiny_settings, write_data

AUTH = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4, "RAY_USAGE_STATS_ENABLED": "0"}
os.environ.update(AUTH)  # Ray reads them once, when it is loaded
ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings
ARMS = 4
"""On two nodes of one CPU each."""


class Race:
    """Arms of tiny trainings in a folder, and what came of them."""

    def __init__(self, folder: Path, data: Path, arms: int = ARMS, **training: Any) -> None:
        settings = [tiny_settings(data, learning_rate=0.001 * arm, **training) for arm in range(1, arms + 1)]
        self.specs = [
            replace(
                attempt_spec(folder, {**content, "checkpoint": {"every_steps": 1}}),
                phase=f"arm_{arm}",
                folder=str(folder / "phases" / f"0{arm}_arm" / "attempt_1"),
                beside_others=arms > 1,
            )
            for arm, content in enumerate(settings, 1)
        ]
        for spec in self.specs:
            Path(spec.folder).mkdir(parents=True)
        self.records: dict[tuple[str, int], EpochRecord] = {}
        self.results: dict[str, AttemptResult] = {}
        self.notes: list[str] = []

    def run(self, train: Any, on_epoch: Callable[[EpochRecord], None] = lambda record: None) -> None:
        train([self._job(spec, on_epoch) for spec in self.specs])

    def _job(self, spec: AttemptSpec, then: Callable[[EpochRecord], None]) -> Job:
        def keep(record: EpochRecord) -> bool:
            timeless = replace(record, seconds=0.0, images_per_second=0.0, peak_memory_mb=0.0)
            self.records[spec.phase, record.epoch] = timeless
            then(record)
            return True

        def note(fact: Any) -> None:
            self.notes += [fact.text] if isinstance(fact, Note) else []

        return Job(spec, keep, note, lambda result: self.results.__setitem__(spec.phase, result))

    def figures(self, phases: Collection[str]) -> str:
        return repr(sorted((key, record) for key, record in self.records.items() if key[0] in phases))

    def weights(self, phases: Collection[str]) -> list[torch.Tensor]:
        files = [spec.best for spec in self.specs if spec.phase in phases]
        return [weight for file in files for weight in load_checkpoint(file)["model"].values()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def in_turn(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Race:
    """One after another."""
    race = Race(tmp_path_factory.mktemp("in_turn"), data)
    race.run(LocalTrainer(lambda *_: None, 1))
    return race


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(_path_of_tests()))
        found = Cluster()
        found.add_node(num_cpus=1, include_dashboard=False)
        found.add_node(num_cpus=1)
        ray.init(found.address, log_to_driver=False, logging_level="ERROR")
        yield found
        ray.shutdown()
        found.shutdown()


def _path_of_tests() -> list[str]:
    given = os.environ.get("PYTHONPATH", "")
    return [str(Path(smallsight.__file__).parents[1]), *([given] if given else [])]


def trainer(on_progress: Callable[[AttemptSpec, SignOfLife], None] = lambda spec, message: None) -> Any:
    from smallsight.attempts.ray import RayTrainer

    return RayTrainer("auto", on_progress)


def assert_same(in_turn: Race, race: Race) -> None:
    """The arms of a race came out as those of the same names did one after another."""
    phases = [spec.phase for spec in race.specs]
    assert race.results == dict.fromkeys(phases, AttemptResult())
    assert in_turn.figures(phases) == race.figures(phases)
    pairs = zip(in_turn.weights(phases), race.weights(phases), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_at_the_same_time_on_this_machine_they_are_the_same(in_turn: Race, data: Path, tmp_path: Path) -> None:
    race = Race(tmp_path, data, 2)
    race.run(LocalTrainer(lambda *_: None, 2))
    assert_same(in_turn, race)


def test_a_stop_request_reaches_the_nodes_and_the_same_attempts_go_on(
    cluster: Any, in_turn: Race, data: Path, tmp_path: Path
) -> None:
    race = Race(tmp_path, data, 2)
    with pytest.raises(Interrupted, match="stopped"):
        race.run(trainer(), lambda record: signal.raise_signal(signal.SIGTERM))
    assert race.results == {} and any(spec.checkpoint.is_file() for spec in race.specs)
    race.run(trainer())
    assert_same(in_turn, race)


def test_an_attempt_over_two_nodes_is_one_training(cluster: Any, data: Path, tmp_path: Path) -> None:
    """And who was killed on the second one is the cause, not who lost the connection to it."""
    race = Race(tmp_path, data, 1, num_nodes=2, batch_size=2)
    killed: list[int] = []

    def kill_the_second(record: EpochRecord) -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(tmp_path) in " ".join(process.cmdline()) and process.environ().get("RANK") == "1":
                    killed.append(process.pid)
                    process.kill()

    race.run(trainer(), kill_the_second)
    assert len(killed) == 1 and [epoch for _, epoch in race.records] == [1]
    assert race.results["arm_1"].failure == "out_of_memory", "what the system's killer does most often"
    race.run(trainer())
    assert race.results["arm_1"] == AttemptResult() and [epoch for _, epoch in race.records] == [1, 2]


def test_a_node_that_does_not_see_the_data_is_named(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--workers: node [\d.]+ \(.+\) does not see .*nowhere/train. Put it on"):
        Race(tmp_path, tmp_path / "nowhere").run(trainer())


def test_a_cluster_of_other_machines_needs_a_token(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from smallsight.attempts import ray as ours

    assert not ours._is_elsewhere(ours._nodes())
    monkeypatch.delenv("RAY_AUTH_MODE")
    assert ours._is_elsewhere([*ours._nodes(), {"NodeManagerAddress": "203.0.113.9"}])
    with pytest.raises(ConfigError, match=r"with a token: run `ray get-auth-token --generate`.* RAY_AUTH_MODE=token"):
        ours._refuse_without_token("ray://203.0.113.9:10001")


def test_a_node_that_dies_costs_no_more_than_steps(cluster: Any, in_turn: Race, data: Path, tmp_path: Path) -> None:
    """The last test: the cluster has one node less after it."""
    race = Race(tmp_path, data)
    stepped: set[str] = set()

    def kill_once_both_train(spec: AttemptSpec, message: SignOfLife) -> None:
        before = len(stepped)
        stepped.update([spec.phase] if isinstance(message, Step) else [])
        if before < 2 <= len(stepped):
            node = cluster.worker_nodes.copy().pop()
            cluster.remove_node(node, allow_graceful=False)

    race.run(trainer(kill_once_both_train))
    assert sum("its node was lost. It goes on elsewhere" in note for note in race.notes) == 1
    assert_same(in_turn, race)
