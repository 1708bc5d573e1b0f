"""Files as RF-DETR 1.3 to 1.11 wrote them, made here from the tiny network."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from smallsight.config.load import build_config
from smallsight.detectors.build import build_detector, descriptions_of, refuse_other_network
from smallsight.detectors.foreign import ForeignFile, read_foreign
from smallsight.detectors.rfdetr.files import numbering, sizes
from smallsight.detectors.rfdetr.network import RFDetrDetector
from smallsight.errors import CheckpointError, ConfigError
from smallsight.training.start import as_checkpoint

State = dict[str, Tensor]
OPTIMIZER = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"params": [0]}]}


@pytest.fixture(scope="module")
def trained() -> RFDetrDetector:
    """A detector of one class, whose outputs differ from each other."""
    torch.manual_seed(7)
    detector = RFDetrDetector(("ball",), size="tiny").eval()
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if "class_embed" in name:
                parameter.normal_()
    return detector


def weights(detector: RFDetrDetector, shift: float = 0.0) -> State:
    """By the library's names, as files before 1.9 hold them; moved a little to stand for an average."""
    state = {key.removeprefix("model."): value.clone() for key, value in detector.state_dict().items()}
    state.pop("_kp_active_mask")
    return {key: value + shift if value.is_floating_point() else value for key, value in state.items()}


def old_args(**settings: Any) -> argparse.Namespace:
    given = {"lr": 1e-4, "resolution": 1120, "device": torch.device("cpu"), "class_names": ["ball"], "num_classes": 1}
    return argparse.Namespace(**{**given, **settings})


def checkpoint_of_1_3(detector: RFDetrDetector) -> dict[str, Any]:
    return {
        "model": weights(detector),
        "ema_model": weights(detector, 0.25),
        "optimizer": OPTIMIZER,
        "lr_scheduler": {"last_epoch": 39, "_last_lr": [1e-4]},
        "epoch": 38,
        "args": old_args(),
    }


def best_ema_of_1_3(detector: RFDetrDetector) -> dict[str, Any]:
    whole = checkpoint_of_1_3(detector)
    return {key: whole[key] for key in ("model", "optimizer", "lr_scheduler", "epoch", "args")}


def best_total_of_1_3(detector: RFDetrDetector) -> dict[str, Any]:
    return {"model": weights(detector), "args": old_args()}


def best_of_1_11(detector: RFDetrDetector) -> dict[str, Any]:
    return {
        "model": weights(detector) | {"_kp_active_mask": torch.zeros(0, 0, dtype=torch.bool)},
        "state_dict": {f"model.{key}": value for key, value in weights(detector).items()},
        "epoch": 38,
        "args": {"lr": 1e-4, "class_names": ["ball"], "output_dir": "output"},
        "model_config": {"resolution": 1120, "num_classes": 1},
        "callbacks": {},
        "loops": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }


def last_of_1_11(detector: RFDetrDetector) -> dict[str, Any]:
    content = best_of_1_11(detector)
    del content["model"]
    averaged = {f"module.model.{key}": value for key, value in weights(detector, 0.25).items()}
    state = {"latest_update_step": 7, "average_model_state_dict": averaged | {"n_averaged": torch.tensor(7)}}
    return content | {
        "callbacks": {"RFDETREMACallback": state, "BestModelCallback{}": {"best": 0.5}},
        "optimizer_states": [OPTIMIZER],
        "lr_schedulers": [{"last_epoch": 3}],
        "loops": {"fit_loop": {"state_dict": {}}},
    }


FORMATS = {f.__name__: f for f in (checkpoint_of_1_3, best_ema_of_1_3, best_total_of_1_3, best_of_1_11, last_of_1_11)}


def written(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "checkpoint.pth")
    return folder / "checkpoint.pth"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_its_weights_and_what_it_knows(name: str, trained: RFDetrDetector, tmp_path: Path) -> None:
    file = read_foreign(written(tmp_path, FORMATS[name](trained)))
    assert file.class_names == ("ball",) and file.resolution == 1120 and sizes(file) == ("tiny",)
    assert file.epoch == (None if "total" in name else 39)
    assert numbering(file) == ("category_id" if name.endswith("1_3") else "position")
    for key, value in weights(trained).items():
        assert torch.equal(file.model[key], value), key
    whole = name in ("checkpoint_of_1_3", "last_of_1_11")
    assert (file.average is not None) == whole
    if file.average is not None:
        assert all(torch.equal(file.average[key], value) for key, value in weights(trained, 0.25).items())
    words = " ".join(file.left_behind)
    assert ("optimizer" in words) == (whole or "ema" in name) and ("position inside" in words) == (
        name == "last_of_1_11"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_detector_goes_on_as_the_file_left_it(name: str, trained: RFDetrDetector, tmp_path: Path) -> None:
    """The detections are the same; the raw and the averaged weights stay apart; the class keeps its output."""
    file = read_foreign(written(tmp_path, FORMATS[name](trained)))
    fresh = RFDetrDetector(("ball",), size="tiny").eval()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    outputs = fresh.class_outputs(file, (0,), None)
    start = fresh.start_from(file, outputs.taken)
    assert outputs.is_known and outputs.taken == (0,)
    assert all(torch.equal(before[key], value) for key, value in fresh.state_dict().items())
    content = as_checkpoint(file, start, fresh, 560)
    assert {"detector", "class_names", "resolution", "epoch", "model", "ema_model"} <= set(content)
    assert (content["resolution"], content["epoch"]) == (1120, 0 if "total" in name else 39)
    fresh.load_state_dict(content["model"])
    images = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    (found,), (wanted,) = fresh.detect(images, [(96, 96)]), trained.detect(images, [(96, 96)])
    np.testing.assert_array_equal(found.boxes, wanted.boxes)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    moved = content["ema_model"]["model.refpoint_embed.weight"] - content["model"]["model.refpoint_embed.weight"]
    assert torch.allclose(moved, torch.full_like(moved, 0.25 if file.average is not None else 0.0))


STRIPPED: dict[str, Callable[[RFDetrDetector], Any]] = {
    "two sets of weights": lambda d: {"model": weights(d), "ema_model": weights(d, 0.25), "epoch": 38},
    "plain settings": lambda d: {"model": weights(d), "args": vars(old_args()), "epoch": 38},
    "model_state_dict": lambda d: {"epoch": 38, "model_state_dict": weights(d), "optimizer_state_dict": OPTIMIZER},
    "state_dict": lambda d: {"state_dict": {f"module.{key}": value for key, value in weights(d).items()}},
    "bare": weights,
    "bare, wrapped twice": lambda d: {f"_orig_mod.model.{key}": value for key, value in weights(d).items()},
}


@pytest.mark.parametrize("name", STRIPPED)
def test_a_stripped_file_does_not_say_how_its_outputs_are_numbered(
    name: str, trained: RFDetrDetector, tmp_path: Path
) -> None:
    file = read_foreign(written(tmp_path, STRIPPED[name](trained)))
    assert set(file.model) == set(weights(trained)) and numbering(file) == "unknown"
    assert descriptions_of(file) == [{"detector": "rfdetr", "size": "tiny"}]
    assert file.epoch == (None if name.startswith(("state", "bare")) else 39)
    outputs = trained.class_outputs(file, (1,), None)
    assert not outputs.is_known and outputs.count == 2


@pytest.mark.parametrize("output", [0, 1])
def test_of_a_stripped_file_the_trained_output_shows_in_the_biases(
    output: int, trained: RFDetrDetector, tmp_path: Path
) -> None:
    """Objects raise an output's bias above the value that it starts from, background lowers the others'."""
    content = {"model": weights(trained)}
    for key in [key for key in content["model"] if "class_embed" in key and key.endswith("bias")]:
        content["model"][key] = torch.tensor([-4.42, -4.69] if output == 0 else [-4.69, -4.42])
    outputs = trained.class_outputs(read_foreign(written(tmp_path, content)), (1,), None)
    assert outputs.taken == (output,) and "bias" in outputs.note and not outputs.is_known


@pytest.mark.parametrize(
    ("rule", "known", "outputs", "names", "category_ids", "expected", "is_known"),
    [
        # up to 1.4: the category's id, whatever the position; Roboflow's parent has id 0
        ("category_id", ["ball"], 2, ["ball"], (1,), (1,), True),
        ("category_id", ["ball"], 2, ["ball"], (0,), (0,), True),
        ("category_id", ["ball"], 3, ["ball"], (1,), (1,), True),
        ("category_id", ["ball"], 3, ["ball"], None, (1,), True),
        ("category_id", ["ball", "player"], 4, ["player", "ball"], (2, 1), (2, 1), True),
        ("category_id", ["ball"], 2, ["ball"], (7,), (None,), False),
        # since 1.5: the position, after a parent that the head has an output for
        ("position", ["ball"], 2, ["ball"], (1,), (0,), True),
        ("position", ["ball"], 3, ["ball"], (1,), (1,), True),
        ("position", ["ball"], 3, ["ball"], (0,), (0,), True),
        ("position", ["ball", "player"], 3, ["player"], (2,), (1,), True),
        ("position", ["ball", "player"], 3, ["player", "referee"], (1, 2), (1, None), False),
        # one class is one class, whatever its name; without names the counts have to fit
        ("position", ["football"], 2, ["ball"], (1,), (0,), True),
        ("position", [], 2, ["ball"], (1,), (0,), True),
        ("position", [], 91, ["ball"], (1,), (None,), False),
        ("position", ["person", "car"], 3, ["ball"], (1,), (None,), True),
    ],
)
def test_which_output_of_the_head_is_which_class(
    rule: str,
    known: list[str],
    outputs: int,
    names: list[str],
    category_ids: tuple[int, ...] | None,
    expected: tuple[int | None, ...],
    is_known: bool,
    trained: RFDetrDetector,
) -> None:
    found = weights(trained)
    for key in [key for key in found if "class_embed." in key]:
        found[key] = torch.stack([torch.full_like(found[key][0], float(at)) for at in range(outputs)])
    by_id = rule == "category_id"
    file = ForeignFile(Path("f.pth"), found, None, tuple(known), has_namespace=by_id, by_lightning=not by_id)
    detector = RFDetrDetector(names, size="tiny")
    decided = detector.class_outputs(file, category_ids, None)
    assert (decided.taken, decided.is_known) == (expected, is_known) and "class head" in decided.note
    start = detector.start_from(file, decided.taken)
    for head in ("class_embed", "transformer.enc_out_class_embed.1"):
        bias, own = start.model[f"model.{head}.bias"], detector.state_dict()[f"model.{head}.bias"]
        assert bias[:-1].tolist() == [float(own[0]) if at is None else at for at in expected]
        assert float(bias[-1]) not in [at for at in expected if at is not None]


def test_the_user_may_say_which_output_it_is(trained: RFDetrDetector, tmp_path: Path) -> None:
    file = read_foreign(written(tmp_path, checkpoint_of_1_3(trained)))
    asked = trained.class_outputs(file, (1,), {"ball": 0})
    assert asked.taken == (0,) and asked.is_known and "model.class_outputs" in asked.note
    with pytest.raises(CheckpointError, match=r"outputs 0 to 1; got 2 in model.class_outputs"):
        trained.class_outputs(file, (1,), {"ball": 2})
    with pytest.raises(CheckpointError, match=r"names outputs for player; expected one for each of ball"):
        trained.class_outputs(file, (1,), {"player": 0})


def test_learnt_positions_come_onto_our_grid(trained: RFDetrDetector, tmp_path: Path) -> None:
    """A file trained at another resolution; a ramp stays a ramp, the class token's position stays."""
    content = best_total_of_1_3(trained)
    key = "backbone.0.encoder.encoder.embeddings.position_embeddings"
    ramp = torch.linspace(0, 1, 12).view(1, 1, 12, 1).expand(1, 12, 12, 384).reshape(1, 144, 384)
    content["model"][key] = torch.cat([torch.full((1, 1, 384), 5.0), ramp], dim=1)
    start = trained.start_from(read_foreign(written(tmp_path, content)), (0,))
    found = start.model[f"model.{key}"]
    assert found.shape == (1, 37, 384) and bool((found[:, 0] == 5).all())
    row = found[0, 1:7, 0]
    assert bool((row.diff() > 0.1).all()) and float(row.mean()) == pytest.approx(0.5, abs=0.01)
    assert any("12" in note and "resampled to 6" in note for note in start.notes)


def test_another_size_is_refused_with_the_key_to_set(trained: RFDetrDetector, tmp_path: Path) -> None:
    file = read_foreign(written(tmp_path, best_total_of_1_3(trained)))
    with pytest.raises(CheckpointError, match=r"rfdetr_size tiny; got nano .* Set model.rfdetr_size=tiny"):
        refuse_other_network(file, build_config({"model": {"rfdetr_size": "nano"}}, "run.yaml"))
    with pytest.raises(CheckpointError, match=r"holds a rfdetr detector; got nano .* set model.detector=rfdetr"):
        refuse_other_network(file, build_config({}, "run.yaml"))
    refuse_other_network(file, configured(False))


@pytest.mark.parametrize(("size", "expected"), [("base", ("base",)), ("medium", ("medium",)), ("small", ("small",))])
def test_the_size_is_seen_from_the_shapes(size: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    model = weights(RFDetrDetector(("ball",), size=size))
    assert sizes(read_foreign(written(tmp_path, {"model": model}))) == expected


def test_other_numbers_of_queries_are_refused(trained: RFDetrDetector, tmp_path: Path) -> None:
    content = best_total_of_1_3(trained)
    content["model"]["query_feat.weight"] = torch.zeros(10, 32)
    with pytest.raises(CheckpointError, match=r"got \[10, 32\] for query_feat.weight, expected \[32, 32\]"):
        trained.start_from(read_foreign(written(tmp_path, content)), (0,))


class _Spell:
    """What a hostile file holds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("cast",)


def test_a_file_that_wants_to_run_code_is_refused(
    trained: RFDetrDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, best_total_of_1_3(trained) | {"args": old_args(spell=_Spell())})
    with pytest.raises(CheckpointError, match=r"asks for \w+\.mkdir to be run .* refused"):
        read_foreign(path)
    assert not (tmp_path / "cast").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", pickle.dumps({"model": 1}, protocol=2)])
def test_a_file_that_is_none_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights.pth: "):
        read_foreign(path)
    with pytest.raises(CheckpointError, match="no such file"):
        read_foreign(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="no detector that this version knows"):
        descriptions_of(read_foreign(written(tmp_path, {"model": {"stem.weight": torch.zeros(2)}})))
    with pytest.raises(CheckpointError, match=r"holds no weights; got epoch, loss at the top"):
        read_foreign(written(tmp_path, {"epoch": 3, "loss": 0.5}))


# Pretrained weights of a configuration


def configured(pretrained: bool | str) -> Any:
    return build_config({"model": {"rfdetr_size": "tiny", "pretrained": pretrained}}, "run.yaml")


def test_a_configured_file_of_weights_is_put_in(trained: RFDetrDetector, tmp_path: Path) -> None:
    path = written(tmp_path, checkpoint_of_1_3(trained))
    key = "model.refpoint_embed.weight"
    detector = build_detector(configured(str(path)), ("ball",), "run.yaml")
    assert torch.equal(detector.state_dict()[key], weights(trained, 0.25)["refpoint_embed.weight"])
    untouched = build_detector(configured(str(path)), ("ball",), "run.yaml", pretrained=False)
    assert not torch.equal(untouched.state_dict()[key], detector.state_dict()[key])
    other = build_detector(configured(str(path)), ("goal", "player"), "run.yaml")
    assert torch.equal(other.state_dict()[key], detector.state_dict()[key])


def test_where_there_is_no_network_the_answer_comes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from smallsight.detectors.rfdetr import download as rfdetr_download

    def unreachable(*_: object, timeout: float, **__: object) -> None:
        assert timeout <= 5
        raise OSError("no route to host")

    monkeypatch.setenv("RF_HOME", str(tmp_path))
    monkeypatch.setattr(rfdetr_download.urllib.request, "urlopen", unreachable)
    with pytest.raises(ConfigError, match=r"run.yaml: model.pretrained: .* RF-DETR base .* \(no route to host\)"):
        rfdetr_download.published_weights("base", "run.yaml")
    with pytest.raises(ConfigError, match="no weights are published for RF-DETR tiny"):
        build_detector(configured(True), ("ball",), "run.yaml")
    cached = tmp_path / "rf-detr-base.pth"
    cached.touch()
    assert rfdetr_download.published_weights("base", "run.yaml") == cached
