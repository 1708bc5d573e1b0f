"""Images per second of training RF-DETR: ours against the library's own trainer, loading of the frames included.

    python benchmarks/rfdetr_training.py --extra FOLDER

Both train one network on one folder of frames at one resolution with the same batch, accumulation, clipping, rate, flip
and average (EMA), in turns; no validation is counted. The library's side is what `RFDETR.train` sets up (module, data
module, `build_trainer`), without evaluation, logging and checkpoints. The first epoch of each is not counted.

On a CPU, seconds are processor time of one thread without loading processes, so that other work on the machine is not
counted; on a GPU they are seconds of the clock.

The library's trainer needs packages that smallsight does not, and another hotcoco than ours; so they go into a folder
that is searched last:

    pip install --target FOLDER --no-deps faster-coco-eval==1.8.0 torch-hungarian==0.1.0rc0 peft==0.21.2
"""

from __future__ import annotations

import argparse
import copy
import logging
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from scipy import stats

from smallsight.attempts.messages import Message
from smallsight.attempts.spec import AttemptSpec
from smallsight.config.detectors import RFDETR_SIZES
from smallsight.config.load import Config, build_config, training_scales
from smallsight.detectors.rfdetr.network import RFDetrDetector, library_settings
from smallsight.synth.dataset import SynthOptions, write_dataset
from smallsight.training.fit import _trainer
from smallsight.training.state import TrainingState

EPOCHS = 2
CLIP, RATE = 0.1, 1e-4


class Stopwatch(pl.Callback):
    """Seconds of each epoch, from before its first batch is loaded to the end of its last step."""

    def __init__(self, device: str) -> None:
        self._device, self.seconds = device, [0.0]

    def _now(self) -> float:
        if self._device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._began = self._now()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.is_last_batch:
            self.seconds.append(self._now() - self._began)


class Silence:
    """A channel that nobody listens to."""

    def tell(self, message: Message) -> None:
        return

    def ask_to_go_on(self) -> bool:
        return True

    def stop_requested(self) -> bool:
        return False

    def listen_to_signals(self) -> None:
        return


def ours(config: Config, folder: Path, network: torch.nn.Module, watch: Stopwatch) -> None:
    spec = AttemptSpec(
        run_id="benchmark",
        run_folder=str(folder),
        folder=str(folder / "phases" / "01_benchmark" / "attempt_1"),
        phase="benchmark",
        attempt=1,
        config=config.to_dict(),
        first_epoch=1,
        last_epoch=EPOCHS,
        start="scratch",
        start_path="",
    )
    spec.save()
    state = TrainingState(spec, Silence())
    state.detector.model.load_state_dict(network.state_dict())
    trainer = _trainer(state)
    trainer.callbacks.append(watch)
    trainer.fit(state.module)


def theirs(config: Config, folder: Path, network: torch.nn.Module, watch: Stopwatch) -> None:
    from rfdetr.config import TrainConfig
    from rfdetr.training import RFDETRDataModule, RFDETREMACallback, RFDETRModelModule, build_trainer

    training = config.training
    model, _, _ = library_settings(RFDETR_SIZES[config.model.rfdetr_size], 1, False)
    model = model.model_copy(update={"resolution": training.resolution, "pretrain_weights": None})
    settings = TrainConfig(
        dataset_dir=str(Path(str(config.dataset.coco_train_path)).parent),
        output_dir=str(folder),
        epochs=EPOCHS,
        batch_size=training.batch_size,
        grad_accum_steps=training.grad_accum_steps,
        lr=training.learning_rate,
        clip_max_norm=CLIP,
        multi_scale=training.multi_scale,
        expanded_scales=training.expanded_scales,
        scale_jitter=False,
        augmentation_backend="torchvision",
        num_workers=training.num_workers,
        accelerator="gpu" if training.device == "cuda" else "cpu",
        tensorboard=False,
    )
    module, data = RFDETRModelModule(model, settings), RFDETRDataModule(model, settings)
    module.model = copy.deepcopy(network)
    average = RFDETREMACallback(decay=settings.ema_decay, tau=settings.ema_tau)
    off = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "limit_val_batches": 0}
    build_trainer(settings, model, callbacks=[average, watch], **off).fit(module, data)


SIDES: dict[str, Callable[..., None]] = {"ours": ours, "the library's": theirs}


def measure(
    options: argparse.Namespace,
    config: Config,
    scratch: Path,
    note: Callable[[Mapping[str, list[float]]], None] = lambda rates: None,
    until: float = math.inf,
) -> dict[str, list[float]]:
    """Images per second of each round, by side.

    Args:
        options: sizes, rounds and device, as the command line names them.
        config: what both sides train with.
        scratch: for the files of both.
        note: told the rates after each round.
        until: no round begins that would not be over by then, on the monotonic clock, s.
    """
    network = RFDetrDetector(("ball",), size=options.size).model
    images = len(list(Path(str(config.dataset.coco_train_path)).glob("*.jpg")))
    images -= images % (options.batch * options.accumulate)
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    precision, longest = torch.get_float32_matmul_precision(), 0.0
    for turn in range(options.rounds):
        began = time.monotonic()
        if turn and began + longest > until:
            break
        for side in sorted(SIDES, reverse=bool(turn % 2)):
            watch = Stopwatch(options.device)
            torch.set_float32_matmul_precision(precision)  # the library's trainer changes it, for the whole process
            SIDES[side](config, scratch / f"{turn}_{side[:3]}", network, watch)
            rates[side].append(images / watch.seconds[-1])
            print(f"  round {turn + 1}, {side}: {rates[side][-1]:.2f} images/s", flush=True)
        longest = max(longest, time.monotonic() - began)
        note(rates)
    return rates


def ratio(rates: Mapping[str, list[float]]) -> tuple[float, float, float]:
    """Ours by the library's: geometric mean over the rounds and its 95 % interval (Student's t on the logarithms)."""
    logs = [math.log(a / b) for a, b in zip(rates["ours"], rates["the library's"], strict=True)]
    middle, half = statistics.mean(logs), math.nan
    if len(logs) > 1:
        half = float(stats.t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def configured(options: argparse.Namespace, data: Path) -> Config:
    training = {
        "batch_size": options.batch,
        "grad_accum_steps": options.accumulate,
        "learning_rate": RATE,
        "gradient_clip": CLIP,
        "epochs": EPOCHS,
        "resolution": options.resolution,
        "num_workers": options.workers,
        "device": options.device,
        "mixed_precision": options.device != "cpu",
        "multi_scale": options.multi_scale,
    }
    content = {
        "model": {"rfdetr_size": options.size},
        "training": training,
        "dataset": {
            "coco_train_path": str(data / "train"),
            "coco_val_path": str(data / "valid"),
            "pin_memory": options.device != "cpu",
        },
        "augmentation": {"color_jitter": False},
        "evaluation": {"replicates": 100},
    }
    return build_config(content, "benchmark")


def same_scales(config: Config) -> bool:
    """Whether multi-scale training draws from the same scales on both sides."""
    from rfdetr.datasets.coco import compute_multi_scale_scales

    size = RFDETR_SIZES[config.model.rfdetr_size]
    theirs = compute_multi_scale_scales(config.training.resolution, False, size.patch_px, size.windows)
    return training_scales(config, size.step_px) == tuple(theirs)


def quiet() -> None:
    """Without what the libraries tell: it would stand between the figures."""
    for name in ("pytorch_lightning", "rf-detr", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extra", help="folder with what the library's trainer needs")
    parser.add_argument("--size", default="tiny", choices=RFDETR_SIZES)
    parser.add_argument("--resolution", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--multi-scale", action="store_true")
    parser.add_argument("--images", type=int, default=24, help="of 640x360 px; 7 of 10 are trained on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    if options.extra:
        sys.path.append(options.extra)
    if options.device == "cpu":
        torch.set_num_threads(1)
    quiet()
    with tempfile.TemporaryDirectory() as scratch:
        write_dataset(Path(scratch) / "data", SynthOptions(options.images, (640, 360), 1, 1))
        config = configured(options, Path(scratch) / "data")
        if options.multi_scale and not same_scales(config):
            parser.error(f"--resolution {options.resolution}: the library draws from other scales; try 20 steps of it")
        print(f"{options.size}, {options.resolution} px, {options.batch} x {options.accumulate}, {options.device}")
        rates = measure(options, config, Path(scratch))
    for side, values in rates.items():
        print(f"{side:<14}{statistics.median(values):7.2f} images/s, median of {len(values)}")
    print("ratio {:.2f} [{:.2f}, {:.2f}]".format(*ratio(rates)))


if __name__ == "__main__":
    main()
