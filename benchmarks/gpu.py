"""What needs a GPU, measured in minutes: training by precision, memory, resume, out-of-memory, detection.

    python benchmarks/gpu.py run --out FOLDER                          all parts, at most nine minutes
    python benchmarks/gpu.py run --out FOLDER --device cpu --quick     the same parts, small, on a CPU
    python benchmarks/gpu.py table FOLDER/figures.json                 the figures as Markdown

Each part runs in a process of its own, with a time limit; one that fails says why, and the next one goes on. What was
found is in FOLDER/figures.json after each part. `gpu.sh` does the same with packages from a folder of wheels.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gpu_figures import TITLES, Notes, table
from gpu_plan import PLANS

from smallsight.files import write_text_atomically

BUDGET_S = 540.0
LIMITS_S = {
    "frames": 60,
    "training": 180,
    "ratio": 120,
    "resume": 100,
    "memory": 100,
    "detection": 60,
    "whole_run": 80,
    "loader": 70,
    "large_batch": 110,
    "tests": 120,
}
"""Of each part on a GPU; on a CPU, which has no lease to keep, each has what is left of the budget."""
LEAST_S = 10.0
"""With less time left, a part is not begun."""
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "rfdetr", "transformers", "numpy", "hotcoco")


def machine(device: str) -> dict[str, str]:
    """Card, driver and versions; the card is asked by a process of its own."""
    code = (
        "import json, torch; p = torch.cuda.get_device_properties(0); "
        "print(json.dumps({'card': p.name, 'card memory': f'{p.total_memory / 1e9:.1f} GB', "
        "'CUDA': torch.version.cuda, 'cuDNN': str(torch.backends.cudnn.version())}))"
    )
    found: dict[str, str] = {}
    if device == "cuda":
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        found = json.loads(said.stdout) if said.returncode == 0 else {"card": f"not known: {said.stderr[-300:]}"}
        found["driver"] = _driver()
    found |= {"processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores", "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {"measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def _driver() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError) as error:
        return f"not known: {error}"


def _processor() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(": ")[2] if names else platform.machine()


def run(options: argparse.Namespace) -> int:
    """All parts, one after another; 1 where one failed."""
    began = time.monotonic() - options.spent
    out = Path(options.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    device = options.device
    if device == "auto":
        device = "cuda" if machine("cuda").get("CUDA") else "cpu"
    plan = "embedded" if options.embedded else "quick" if options.quick else "gpu"
    content: dict[str, Any] = {"machine": machine(device), "plan": plan, "device": device, "seconds": 0.0, "parts": []}
    for name in options.parts or TITLES:
        left = options.budget - (time.monotonic() - began)
        limit = min(left, LIMITS_S[name]) if device == "cuda" else left
        print(f"{name}: {left:.0f} s are left", flush=True)
        content["parts"].append(_part(name, out, plan, device, options.extra, limit))
        content["seconds"] = time.monotonic() - began
        write_text_atomically(out / "figures.json", json.dumps(content, indent=1))
    (out / "table.md").write_text(table(content))
    print(table(content))
    return int(any(part["state"] != "done" or part["failures"] for part in content["parts"]))


def _part(name: str, out: Path, plan: str, device: str, extra: str, limit: float) -> dict[str, Any]:
    """One part in a process of its own, with what it noted and how it ended."""
    notes = out / f"part_{name}.json"
    Notes(notes)
    began, state, why = time.monotonic(), "done", ""
    if limit < LEAST_S:
        state, why = "left out", "no time was left"
    elif missing := _missing(name, plan):
        state, why = "left out", missing
    else:
        place = {"plan": plan, "device": device, "folder": str(out), "extra": extra, "until": began + limit}
        command = [sys.executable, "-u", __file__, "part", name, json.dumps(place), str(notes)]
        with (out / f"part_{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            if code := process.wait(limit):
                state, why = "failed", f"exit code {code}: {_last_line(out / f'part_{name}.log')}"
        except subprocess.TimeoutExpired:
            state, why = "cut short", f"after its limit of {limit:.0f} s"
        finally:
            _end(process)
    print(f"{name}: {state} {why}", flush=True)
    found = json.loads(notes.read_text())
    return {"name": name, "state": state, "why": why, "seconds": time.monotonic() - began, **found}


def _missing(name: str, plan: str) -> str:
    """Why a part can't be done, with this plan or with what is installed."""
    if {"ratio": PLANS[plan].ratio, "large_batch": PLANS[plan].too_large}.get(name, True) is None:
        return f"it is not in the plan {plan}"
    if name == "ratio" and importlib.util.find_spec("rfdetr") is None:
        return "rfdetr is not installed"
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of a part is left when the next one begins."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing was said"


def part(name: str, place: str, notes: str) -> int:
    """What `run` starts for each part."""
    import logging
    import warnings

    import torch
    from gpu_parts import Place, parts

    for logger in ("pytorch_lightning", "rf-detr", "lightning"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    where = Place(**json.loads(place))
    if where.device == "cpu":
        torch.set_num_threads(1)  # so that other work on the machine matters less
    try:
        parts()[name](where, Notes(Path(notes)))
    except Exception as error:  # whatever it is, it is told, and the next part goes on
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0


def show(paths: Sequence[Path]) -> int:
    """Print the tables of figures that were written before."""
    for path in paths:
        print(table(json.loads(path.read_text())))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="measure")
    running.add_argument("--out", required=True, help="folder for figures.json, table.md and logs")
    running.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    running.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    running.add_argument("--embedded", action="store_true", help="smaller yet, without RF-DETR")
    running.add_argument("--parts", type=lambda text: text.split(","), help=f"some of {','.join(TITLES)}")
    running.add_argument("--budget", type=float, default=BUDGET_S, help="seconds in all")
    running.add_argument("--spent", type=float, default=0.0, help="seconds of it that are gone already")
    running.add_argument("--extra", default="", help="folder with what the library's trainer needs")
    showing = commands.add_parser("table", help="print the figures as Markdown")
    showing.add_argument("figures", type=Path, nargs="+")
    inner = commands.add_parser("part")
    for name in ("name", "place", "notes"):
        inner.add_argument(name)
    options = parser.parse_args()
    if options.command == "table":
        return show(options.figures)
    if options.command == "part":
        return part(options.name, options.place, options.notes)
    if unknown := set(options.parts or ()) - set(TITLES):
        parser.error(f"--parts: no part is called {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
