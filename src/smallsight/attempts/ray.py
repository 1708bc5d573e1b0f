"""Carries out attempts on a Ray cluster: the only file that knows Ray. No torch.

Each attempt is an actor on each of its nodes, which starts the same child processes as on this machine. The driver
asks the actors again and again what has been said. A node that is lost costs the steps since the last checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from smallsight.attempts.conversation import Conversation, OnProgress
from smallsight.attempts.failures import classify
from smallsight.attempts.jobs import Job
from smallsight.attempts.messages import Note, Stopping, message_from
from smallsight.attempts.on_node import AUTH_MODE, LISTEN_S, Expected, OnNode, what_is_missing
from smallsight.attempts.places import shared_out
from smallsight.attempts.remote import End, cause_of, paths_of, resources_of, room_for
from smallsight.attempts.signals import handle_stops
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.attempts.workers import GRACE_S
from smallsight.errors import ConfigError, Interrupted, SmallsightError, TrainingError

OLDEST = (2, 59)
"""The first version that can ask for a token."""
NAMESPACE = "smallsight"
LOOPBACKS = ("127.0.0.1", "localhost", "::1")
LOOK_WITHIN_S = 120.0
WAITS_LONG_S = 30.0
MOST_LOSSES = 5
"""So often an attempt may lose its node between two of its epochs."""
OTHERS_END_WITHIN_S = 5.0
"""How long the nodes of an attempt may take to tell their own failure after one of them has ended."""


@dataclass
class _Remote:
    """An attempt that is carried out: its actors, leader's first, and what is asked of them."""

    conversation: Conversation
    spec: AttemptSpec
    began_s: float
    actors: list[Any] = field(default_factory=list)
    group: PlacementGroup | None = None
    pending: dict[Any, int] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    ends: dict[int, End] = field(default_factory=dict)
    kill_at: float = float("inf")
    runs: bool = False
    losses: int = 0


class RayTrainer:
    """Carries out attempts on a cluster; it stays connected for as long as this process lives.

    Args:
        address: `auto` or `ray://HOST:PORT`.
        on_progress: gets an attempt's signs of life, with the attempt.
    """

    def __init__(self, address: str, on_progress: OnProgress) -> None:
        self._address, self._on_progress = address, on_progress
        self._looked_at: set[str] = set()

    def __call__(self, jobs: Sequence[Job]) -> None:
        """See `Trainer`.

        Raises:
            ConfigError: the cluster is not there, asks for no token, or a node does not see what it has to.
            TrainingError: the connection to the cluster is lost.
        """
        if not jobs:
            return
        if not ray.is_initialized():
            _connect(self._address)
        nodes = _nodes()
        authenticated = _is_elsewhere(nodes)
        if authenticated:
            _refuse_without_token(self._address)
        new = [node for node in nodes if node["NodeID"] not in self._looked_at]
        _look(new, [job.spec for job in jobs], authenticated=authenticated)
        self._looked_at |= {str(node["NodeID"]) for node in new}
        try:
            _Race(jobs, self._on_progress, nodes).carry_out()
        except (ConnectionError, RayError) as error:
            raise TrainingError(f"--workers: the Ray cluster does not answer any more ({error}).") from error


def _connect(address: str) -> None:
    version = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if version < OLDEST:
        raise ConfigError(f"--workers: needs Ray 2.59 or newer, got {ray.__version__}. pip install -U 'ray[client]'.")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _connect_to(address)
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end this process without a word


def _connect_to(address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": NAMESPACE}
    if address == "auto":
        with contextlib.suppress(ConnectionError):
            ray.init(address="auto", **quiet)
            return
        ray.init(include_dashboard=False, **quiet)
        return
    if (urlsplit(address).hostname or "") not in LOOPBACKS:
        _refuse_without_token(address)
    try:
        ray.init(address, **quiet)
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        raise ConfigError(f"--workers: no Ray cluster answers at {address} with this token ({error}).") from error


def _refuse_without_token(address: str) -> None:
    if os.environ.get(AUTH_MODE) != "token":
        raise ConfigError(
            f"--workers {address}: the cluster has other machines, and would take orders from anyone. Start it, and "
            f"this command, with a token: run `ray get-auth-token --generate`, copy ~/.ray/auth_token to every "
            f"machine, and `export {AUTH_MODE}=token` before `ray start`."
        )


def _nodes() -> list[Mapping[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _is_elsewhere(nodes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a node of the cluster is another machine than this one."""
    return not {node["NodeManagerAddress"] for node in nodes} <= {*LOOPBACKS, ray.util.get_node_ip_address()}


def _look(nodes: Sequence[Mapping[str, Any]], specs: Sequence[AttemptSpec], *, authenticated: bool) -> None:
    """Make sure that each node sees the run folder and the data.

    Raises:
        ConfigError: one does not.
    """
    run = Path(specs[0].run_folder)
    run.mkdir(parents=True, exist_ok=True)
    marker, content = run / f".seen_by_nodes_{secrets.token_hex(4)}.tmp", secrets.token_hex(8)
    expected = Expected(str(Path.cwd()), str(marker), content, paths_of(specs), authenticated=authenticated)
    marker.write_text(content)
    try:
        looks = {
            ray.remote(what_is_missing)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False))
            .remote(expected): f"{node['NodeManagerAddress']} ({node['NodeManagerHostname']})"
            for node in nodes
        }
        until = time.monotonic() + LOOK_WITHIN_S
        for look, name in looks.items():
            try:
                missing = ray.get(look, timeout=max(0.0, until - time.monotonic()))
            except RayError as error:
                text = str(error).strip().splitlines()[-1:]
                raise ConfigError(f"--workers: node {name} can't run smallsight ({''.join(text)}).") from error
            if missing:
                raise ConfigError(f"--workers: node {name} {missing[0]}.")
    finally:
        marker.unlink(missing_ok=True)


class _Race:
    """Some jobs, as many of them open as the cluster has room for."""

    def __init__(self, jobs: Sequence[Job], on_progress: OnProgress, nodes: Sequence[Mapping[str, Any]]) -> None:
        self._waiting, self._on_progress, self._nodes = deque(jobs), on_progress, nodes
        self._cuda = any(node["Resources"].get("GPU") for node in nodes)
        self._open: list[_Remote] = []
        self._error: Exception | None = None
        self._stopped: list[str] = []
        self._asked = False

    def carry_out(self) -> None:
        """Until all have ended, or have saved and stopped."""
        try:
            with self._heeding_stops():
                while self._open or (self._waiting and not self._ends):
                    self._begin_what_fits()
                    self._hear()
        finally:
            for each in self._open:
                _clear_away(each)
        if self._error is not None:
            raise self._error
        if self._asked:
            raise Interrupted("; ".join(self._stopped) or "stopped before an attempt began")

    @property
    def _ends(self) -> bool:
        return self._asked or self._error is not None

    @contextlib.contextmanager
    def _heeding_stops(self) -> Iterator[None]:
        def ask(number: int, frame: FrameType | None) -> None:
            if not self._asked:
                for each in self._open[:1]:
                    self._on_progress(each.spec, Stopping())
            self._asked = True

        before = handle_stops(ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _begin_what_fits(self) -> None:
        while self._waiting and not self._ends:
            spec = shared_out(self._waiting[0].spec, self._cuda)
            spread = int(spec.config["training"].get("num_nodes", 1))
            room = room_for(resources_of(spec, self._cuda), [node["Resources"] for node in self._nodes], spread)
            if len(self._open) >= max(1, room):
                return
            job = self._waiting.popleft()
            each = _Remote(Conversation(job, self._on_progress), spec, time.monotonic())
            with self._keeping_its_error(each):
                if job.may_begin():
                    self._open.append(each)
                    self._start(each)

    def _start(self, each: _Remote) -> None:
        """Ask for places for an attempt; its actors begin once there are some."""
        training = each.spec.config["training"]
        needed = resources_of(each.spec, self._cuda)
        nodes = int(training.get("num_nodes", 1))
        each.actors, each.pending, each.ends, each.answers = [], {}, {}, []
        each.began_s, each.runs, each.kill_at = time.monotonic(), False, float("inf")
        _take_the_name(_name_of(each.spec))
        options: dict[str, Any] = {"num_cpus": needed["CPU"], "num_gpus": needed["GPU"]}
        if nodes > 1:
            self._refuse_loopback(training)
            each.group = placement_group([needed] * nodes, strategy="STRICT_SPREAD")
        for node in range(nodes):
            if each.group is not None:
                options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(each.group, node)
            name = _name_of(each.spec) if node == 0 else None
            actor = ray.remote(OnNode).options(name=name, namespace=NAMESPACE, **options)
            each.actors.append(actor.remote(str(Path.cwd())))
        if nodes > 1:
            each.pending = {each.actors[0].open_door.remote(json.dumps(training)): -1}
        else:
            self._let_begin(each, "", 0)

    def _refuse_loopback(self, training: Mapping[str, Any]) -> None:
        if not training.get("interface") and len({node["NodeManagerAddress"] for node in self._nodes}) > 1:
            raise ConfigError(
                "training.interface: not given, so processes would talk over the loopback of one machine. Name the "
                "network interface between the machines, for example training.interface=eth0."
            )

    def _let_begin(self, each: _Remote, address: str, port: int) -> None:
        path = str(each.spec.save())
        for node, actor in enumerate(each.actors):
            each.pending[actor.start.remote(path, node, address, port)] = node

    def _hear(self) -> None:
        """Wait until a node answers, and pass on what it says."""
        asked = {ref: each for each in self._open for ref in each.pending}
        if not asked:
            return
        ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=LISTEN_S / 2)
        for ref in ready:
            each = asked[ref]
            if each in self._open and ref in each.pending:
                with self._keeping_its_error(each):
                    self._take(each, each.pending.pop(ref), ref)
        for each in list(self._open):
            self._look_after(each)

    def _take(self, each: _Remote, node: int, ref: Any) -> None:
        """Take what an actor answered, and ask it again."""
        try:
            told = ray.get(ref)
        except (ActorDiedError, ActorUnavailableError) as error:
            self._lose(each, error)
            return
        if node < 0:
            self._meet(each, json.loads(told))
            return
        each.runs = True
        if told is not None and self._heard_all(each, node, json.loads(told)):
            return
        answers, each.answers = (each.answers, []) if node == 0 else ([], each.answers)
        kill = time.monotonic() > each.kill_at
        each.pending[each.actors[node].exchange.remote(answers, stop=self._ends, kill=kill)] = node

    def _meet(self, each: _Remote, told: Any) -> None:
        """The leader listens, or can't."""
        if isinstance(told, dict):
            raise ConfigError(told["failed"]["message"])
        self._let_begin(each, *told)

    def _heard_all(self, each: _Remote, node: int, told: Mapping[str, Any]) -> bool:
        """Pass a node's messages on; whether its processes are gone."""
        for content in told["messages"] if node == 0 else ():
            answer = each.conversation.hear(message_from(content))
            each.losses = 0 if content["event"] == "epoch" else each.losses
            if answer is not None:
                each.answers.append(answer)
        if told["ended"] is None:
            return False
        if time.monotonic() <= each.kill_at:  # else it was killed for the others
            each.ends[node] = End.read(told["ended"])
            wait_s = GRACE_S if each.ends[node].well else OTHERS_END_WITHIN_S
            each.kill_at = min(each.kill_at, time.monotonic() + wait_s)
        if not each.pending:
            self._end(each)
        return True

    def _end(self, each: _Remote, result: AttemptResult | None = None) -> None:
        self._open.remove(each)
        _clear_away(each)
        if self._ends:
            self._stopped.append(each.conversation.how_it_stopped())
            return
        if result is None:
            end = cause_of(list(each.ends.values()))
            result = each.conversation.result(end.code, end.failed, end.killed_because)
        each.conversation.job.on_end(result)

    def _lose(self, each: _Remote, error: RayError) -> None:
        """An attempt whose node or actor is gone begins anew, from its checkpoint."""
        _clear_away(each)
        self._nodes = _nodes()
        failure = classify(1, type(error).__name__, str(error))
        each.losses += 1
        if self._ends or failure == "out_of_memory" or each.losses > MOST_LOSSES:
            self._end(each, AttemptResult(failure, f"its node was lost {each.losses} times in a row ({error})"))
            return
        each.conversation.job.on_fact(
            Note(f"Phase {each.spec.phase}: its node was lost. It goes on elsewhere, from its last checkpoint.")
        )
        self._start(each)

    def _look_after(self, each: _Remote) -> None:
        """Say that an attempt waits for a place; end one that can't be stopped otherwise."""
        if each.runs:
            return
        if self._ends:
            self._end(each)
        elif time.monotonic() - each.began_s > WAITS_LONG_S:
            each.began_s = float("inf")
            needed = ", ".join(f"{name} {count:g}" for name, count in resources_of(each.spec, self._cuda).items())
            each.conversation.job.on_fact(Note(f"Phase {each.spec.phase} waits for a free node with {needed}."))

    @contextlib.contextmanager
    def _keeping_its_error(self, each: _Remote | None = None) -> Iterator[None]:
        """What ends one attempt and the run lets the others save first."""
        try:
            yield
        except (SmallsightError, OSError) as error:
            self._error = self._error or error
            if each in self._open:
                self._open.remove(each)
                _clear_away(each)


def _name_of(spec: AttemptSpec) -> str:
    return f"{spec.run_id} {spec.folder}"


def _take_the_name(name: str) -> None:
    """End the actor of an earlier driver that carries out the same attempt: two would write the same files."""
    while True:
        try:
            ray.kill(ray.get_actor(name, namespace=NAMESPACE))
        except ValueError:
            return
        time.sleep(0.1)


def _clear_away(each: _Remote) -> None:
    """End an attempt's actors, and with them its processes; its places are free then."""
    for actor in each.actors:
        ray.kill(actor)
    if each.group is not None:
        remove_placement_group(each.group)
    each.actors, each.pending, each.group = [], {}, None
