"""The parts of `gpu.py`: each measures one thing, in a process of its own, and notes every figure as it comes."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from gpu_attempt import Watched, tidy, watch
from gpu_figures import Figure, Notes
from gpu_plan import CROPS, PLANS, Job, Plan

from smallsight.synth.dataset import SynthOptions, write_dataset

ROOT = Path(__file__).parents[1]
SAME_LOSS = 0.05
"""So far may the loss of an epoch in 16 bits lie from float32's: the weights drift apart within it."""


@dataclass(frozen=True)
class Place:
    """Where a part is done.

    Attributes:
        plan: name of it.
        device: cpu or cuda.
        folder: for everything that is written beside the figures.
        extra: folder that is searched last for packages, for the library's trainer; empty for none.
        until: when the part's time is over, on the monotonic clock, s.
    """

    plan: str
    device: str
    folder: str
    extra: str
    until: float

    @property
    def contents(self) -> Plan:
        return PLANS[self.plan]

    @property
    def data(self) -> str:
        return str(Path(self.folder) / "frames")

    def scratch(self, name: str) -> Path:
        """A folder that is not there yet, or no longer."""
        path = Path(self.folder) / "scratch" / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def samples(self, job: Job) -> int:
        """Training samples of an epoch."""
        images = len(list((Path(self.data) / "train").glob("*.jpg")))
        return CROPS * images if job.size == "embedded" else images

    def config(self, job: Job, **training: Any) -> dict[str, Any]:
        content = job.config(self.data, self.device, self.contents.workers)
        content["training"] |= training
        return content


def frames(place: Place, notes: Notes) -> None:
    """Render what the other parts train on."""
    plan, began = place.contents, time.monotonic()
    shutil.rmtree(place.data, ignore_errors=True)
    counts = write_dataset(Path(place.data), SynthOptions(plan.images, plan.size_wh, seed=1, splits=(8 / 9, 1 / 9, 0)))
    width, height = plan.size_wh
    setting = f"{counts['train']} to train on and {counts['valid']} to validate, {width}x{height} px"
    notes.add(Figure("rendered frames", setting, plan.images / (time.monotonic() - began), "images/s", plan.images))


def training(place: Place, notes: Notes) -> None:
    """Each job of the plan: whether the losses fall, how fast it is, and what the probe expected."""
    in_fp32: dict[tuple[str, int, int], float] = {}

    def figures(job: Job, watched: Watched) -> list[Figure]:
        twin, loss = (job.size, job.resolution, job.batch), watched.records[0].train_loss
        if job.precision == "fp32":
            in_fp32[twin] = loss
            return _training_figures(job, watched)
        return [*_training_figures(job, watched), *([_beside(job, loss, in_fp32[twin])] if twin in in_fp32 else [])]

    for number, job in enumerate(place.contents.jobs):
        _tried(place, notes, job, f"training_{number}", figures)


def _tried(
    place: Place, notes: Notes, job: Job, name: str, figures: Callable[[Job, Watched], list[Figure]], **training: Any
) -> None:
    """Train a job and note its figures; one that fails is noted, so that the next one goes on."""
    print(f"  {job.setting}", flush=True)
    folder = place.scratch(name)
    try:
        watched = watch(job, place.config(job, **training), folder)
    except Exception as error:  # whatever kind it is, the next job is measured
        notes.failed(job.setting, error)
        return
    finally:
        tidy()
        shutil.rmtree(folder, ignore_errors=True)
    notes.detail(name, {"job": asdict(job), **_raw(watched)})
    notes.add(*figures(job, watched))


def _raw(watched: Watched) -> dict[str, Any]:
    return {
        "samples": watched.samples,
        "epochs": [{"seconds": each.seconds, "waits": each.waits, "steps": each.steps} for each in watched.epochs],
        "judging_s": list(watched.judging_s),
        "train_loss": [record.train_loss for record in watched.records],
        "val_loss": [record.val_loss for record in watched.records],
        "probe": dict(watched.probe),
        "peak_mb": watched.peak_mb,
        "card_mb": watched.card_mb,
        "busy": watched.busy,
        "start_s": watched.start_s,
        "seconds": watched.ended - watched.began,
    }


def _mean(what: str, setting: str, values: Sequence[float], unit: str) -> Figure:
    """Of one measurement an epoch."""
    return Figure(what, setting, statistics.mean(values), unit, len(values), "epochs", min(values), max(values))


def _beside(job: Job, loss: float, in_fp32: float) -> Figure:
    """How far the mean loss of the first epoch lies from that of the same batches in float32."""
    apart, most = 100 * abs(loss / in_fp32 - 1), 100 * SAME_LOSS
    what = "loss of the first epoch, away from float32's"
    return Figure(what, job.setting, apart, "%", target=f"at most {most:g} %", met=apart <= most)


def _training_figures(job: Job, watched: Watched) -> list[Figure]:
    losses = [record.train_loss for record in watched.records]
    numbers = watched.finite and all(map(math.isfinite, losses))
    learns = job.size == "embedded"  # RF-DETR takes longer from random weights
    target, met = ("falls, no NaN", numbers and losses[-1] < losses[0]) if learns else ("no NaN", numbers)
    course = f"{losses[0]:.3f} to {losses[-1]:.3f}"
    found = [
        Figure(
            "loss, first to last epoch",
            job.setting,
            course,
            "",
            len(losses),
            "epochs",
            target=target,
            met=met,
        ),
        _mean("training", job.setting, watched.rates, "images/s"),
        Figure("median step", job.setting, 1000 * watched.step_s, "ms", sum(len(e.steps) for e in watched.epochs[1:])),
        _mean("judging an epoch, files included", job.setting, watched.judging_s, "s"),
        Figure("from the call to the first step's batch", job.setting, watched.start_s, "s"),
    ]
    if watched.peak_mb:
        ratio = watched.probe["peak_mb"] / watched.peak_mb
        found += [
            Figure("peak memory", job.setting, watched.peak_mb / 1000, "GB"),
            Figure("on the card, context included", job.setting, watched.card_mb / 1000, "GB"),
            Figure("probe / peak memory", job.setting, ratio, target="0.90 to 1.10", met=0.9 <= ratio <= 1.1),
        ]
    return found


def ratio(place: Place, notes: Notes) -> None:
    """Our engine and the library's trainer in turns, with `rfdetr_training.py`."""
    import rfdetr_training as benchmark

    plan = place.contents
    job = plan.ratio
    assert job is not None  # else this part is left out
    if place.extra:
        sys.path.append(place.extra)
    options = Namespace(
        size=job.size,
        resolution=job.resolution,
        batch=job.batch,
        accumulate=1,
        multi_scale=False,
        rounds=plan.ratio_rounds,
        workers=plan.workers,
        device=place.device,
    )
    benchmark.quiet()
    config = benchmark.configured(options, Path(place.data))

    def note(rates: Mapping[str, list[float]]) -> None:
        notes.detail("rounds", rates)

    rates = benchmark.measure(options, config, place.scratch("ratio"), note, until=place.until)
    found = []
    for side, name in (("ours", "our engine"), ("the library's", "the library's trainer")):
        of = rates[side]
        value = statistics.median(of)
        found.append(Figure(name, job.setting, value, "images/s", len(of), "rounds", min(of), max(of)))
    value, low, high = benchmark.ratio(rates)
    interval = (None, None) if math.isnan(low) else (low, high)
    found.append(
        Figure("ours / the library's", job.setting, value, "", len(rates["ours"]), "rounds", *interval,
               "95 % interval by Student's t on the logarithms", "at least 1.3", value >= 1.3)
    )  # fmt: skip
    notes.add(*found)


def detection(place: Place, notes: Notes) -> None:
    """Frames per second, as an evaluation detects, and of the network alone."""
    import gpu_detection

    for size, resolution in place.contents.detected:
        try:
            notes.add(*gpu_detection.measure(size, resolution, Path(place.data) / "valid", place.device))
        except Exception as error:
            notes.failed(f"{size}, {resolution} px", error)
        tidy()


def whole_run(place: Place, notes: Notes) -> None:
    """`smallsight train`, from the command to its end: what it takes beside the training."""
    from smallsight.run.fold import read_state

    job, began = place.contents.whole, time.monotonic()
    run = place.scratch("whole_run")
    command = Command(place.config(job), run)
    command.finish()
    wall = time.monotonic() - began
    records = read_state(run).runs[-1].records
    samples = place.samples(job)
    trained = [samples / record.images_per_second for record in records]
    judged = [record.seconds - each for record, each in zip(records, trained, strict=True)]
    rest = wall - sum(record.seconds for record in records)
    setting = f"{job.setting}, {len(records)} epochs of {samples} samples"
    notes.detail("epochs", {"wall_s": wall, "trained_s": trained, "judged_s": judged})
    notes.add(
        Figure("the whole command", setting, wall, "s"),
        Figure("outside training", setting, 100 * (1 - sum(trained) / wall), "% of the time"),
        Figure("start and end, imports included", setting, rest, "s"),
        Figure("judging an epoch", setting, statistics.mean(judged), "s", len(judged), "", min(judged), max(judged)),
        Figure(
            "an epoch's training", setting, statistics.mean(trained), "s", len(trained), "", min(trained), max(trained)
        ),
    )


def loader(place: Place, notes: Notes) -> None:
    """How much of the training is waiting for batches, by the number of processes that load."""
    job = replace(place.contents.jobs[min(1, len(place.contents.jobs) - 1)], epochs=3)

    def figures(job: Job, watched: Watched) -> list[Figure]:
        setting = f"{job.setting}, {workers} loading processes"
        found = [
            _mean("training", setting, watched.rates, "images/s"),
            Figure("waiting for batches", setting, 100 * watched.waiting, "% of the training"),
        ]
        if watched.busy is not None:
            found.append(Figure("card busy, by NVML", setting, 100 * watched.busy, "% of the training"))
        return found

    for workers in place.contents.loaders:
        _tried(place, notes, job, f"loader_{workers}", figures, num_workers=workers)


def tests(place: Place, notes: Notes) -> None:
    """The suite's tests that concern device, precision and memory."""
    report = place.scratch("tests").with_suffix(".xml")
    report.parent.mkdir(parents=True, exist_ok=True)
    chosen = place.contents.tests
    options = ["-p", "no:cacheprovider", f"--basetemp={place.folder}/pytest", f"--junitxml={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if not report.is_file():
        raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-600:]}")
    cases = list(ET.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    notes.detail("failed", [f"{case.get('classname')}::{case.get('name')}" for case in bad])
    notes.detail("output", done.stdout[-4000:])
    text = f"{len(cases) - len(bad) - skipped} passed, {len(bad)} failed, {skipped} skipped"
    notes.add(Figure("tests", " ".join(chosen), text, "", len(cases), target="none fails", met=not bad))


class Command:
    """`smallsight train` as a user calls it, in a folder that it makes.

    Args:
        content: the configuration.
        run: the run folder.
    """

    def __init__(self, content: Mapping[str, Any], run: Path) -> None:
        self.run = run
        self._config = run.with_suffix(".yaml")
        self._config.parent.mkdir(parents=True, exist_ok=True)
        self._config.write_text(yaml.safe_dump(dict(content)))
        self._log = run.with_suffix(".log")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Call it, again where it was killed."""
        options = ["--config", str(self._config), "--output-dir", str(self.run)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "smallsight", "train", *options], stdout=log, stderr=log
            )
        return self.process

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            RuntimeError: it failed.
        """
        code = self.process.wait()
        if code:
            workers = sorted(self.run.glob("phases/*/attempt_*/worker.log"))
            logs = [self._log, *workers[-1:]]
            words = "\n".join(log.read_text(errors="replace")[-800:] for log in logs)
            raise RuntimeError(f"smallsight train ended with {code}:\n{words}")


def parts() -> Mapping[str, Callable[[Place, Notes], None]]:
    """By name, those of the other files included."""
    from gpu_faults import large_batch, memory, resume

    own: Sequence[Callable[[Place, Notes], None]]
    own = (frames, training, ratio, resume, memory, detection, whole_run, loader, large_batch, tests)
    return {part.__name__: part for part in own}
