"""The configuration: what files may look like, and what is said about those that are wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from smallsight.config.load import (
    Config,
    build_config,
    filled_path,
    load_config,
    training_scales,
    with_settings,
)
from smallsight.config.overrides import parse_overrides
from smallsight.config.section import Section
from smallsight.config.sections import EvaluationSet
from smallsight.config.unused_keys import keys_without_effect
from smallsight.config.yaml_files import to_yaml
from smallsight.errors import ConfigError

EXISTING = """
model:
  architecture: rfdetr
  rfdetr_size: base
  num_classes: 1
  pretrained: true
  remap_mscoco_category: false
  backbone: dinov2
  hidden_dim: 256
  nheads: 8
  num_encoder_layers: 6
  num_decoder_layers: 6
training:
  batch_size: 2
  learning_rate: 2e-4
  epochs: 40
  weight_decay: 1e-4
  gradient_clip: 0.1
  grad_accum_steps: 20
  resolution: 1120
  num_workers: 1
  device: cuda
  mixed_precision: true
  multi_scale: false
  expanded_scales: false
dataset:
  coco_train_path: /data/train
  coco_val_path: /data/valid
  category_name: ball
  category_id: 0
  ball_class_id: 0
  pin_memory: true
  prefetch_factor: 2
  persistent_workers: true
augmentation:
  train:
    mosaic: {enabled: true, prob: 0.5, min_bbox_size: 5, border_margin: 10}
    copy_paste: {enabled: true, prob: 0.5, max_pastes: 3}
    motion_blur: {enabled: true, prob: 0.3, max_kernel_size: 9}
    gaussian_blur: {enabled: true, prob: 0.1}
    iso_noise: {enabled: true, prob: 0.2, noise_level: [0.01, 0.05]}
    jpeg_compression: {enabled: true, prob: 0.2, quality_range: [60, 95]}
    color_jitter: {enabled: true, prob: 0.5, brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1}
    horizontal_flip: 0.5
checkpoint:
  resume_from: models/checkpoint.pth
  start_epoch: 38
  save_dir: models
logging:
  mlflow: true
  mlflow_tracking_uri: file:./mlruns
  mlflow_experiment_name: ball
output:
  output_dir: models
"""
WITHOUT_EFFECT = {
    *(f"model.{key}" for key in ("architecture", "backbone", "hidden_dim", "nheads")),
    *("model.num_encoder_layers", "model.num_decoder_layers"),
    *("dataset.category_id", "dataset.ball_class_id", "dataset.persistent_workers"),
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return path

    return written


def failure(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "run.yaml")


# Files as they stand


def test_an_existing_file_loads_as_it_stands(write: Any) -> None:
    loaded = load_config(write(EXISTING))
    config = loaded.config
    assert (config.model.detector, config.model.rfdetr_size, config.model.pretrained) == ("rfdetr", "base", True)
    assert (config.training.batch_size, config.training.grad_accum_steps) == (2, 20)
    assert (config.training.learning_rate, config.training.weight_decay) == (2e-4, 1e-4)
    assert (config.training.epochs, config.checkpoint.start_epoch) == (40, 38)
    assert config.augmentation.motion_blur.max_kernel_size == 9
    assert config.augmentation.jpeg_compression.quality_range == (60, 95)
    assert config.augmentation.horizontal_flip.chance == 0.5
    assert config.augmentation.color_jitter.hue == 0.1
    assert config.output.output_dir == "models"


def test_an_existing_file_gets_one_warning_for_each_key_without_effect(write: Any) -> None:
    path = write(EXISTING)
    warnings = tuple(keys_without_effect(load_config(path)))
    assert all(warning.startswith(f"{path}: ") and warning.endswith(".") for warning in warnings)
    named = [warning.removeprefix(f"{path}: ").split(" has no effect: ")[0] for warning in warnings]
    assert sorted(named) == sorted(WITHOUT_EFFECT)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("model: {detector: nano, pretrained: true, rfdetr_size: small}", ["model.rfdetr_size", "model.pretrained"]),
        ("{model: {rfdetr_size: small, width: 2, pretrained: true}}", ["model.width"]),
        ("model: {detector: nano, width: 2, backbone: null, pretrained: false}", []),
        ("{model: {rfdetr_size: tiny, remap_mscoco_category: true}}", ["model.remap_mscoco_category"]),
        ("{model: {rfdetr_size: tiny}, sampling: {crop_px: 64, loss_fed: true}}", ["sampling.crop_px"]),
        ("training: {activation_checkpointing: true}", ["training.activation_checkpointing"]),
        ("{model: {rfdetr_size: tiny}, training: {activation_checkpointing: true}}", []),
        ("dataset: {persistent_workers: false, category_id: 0}", ["dataset.category_id"]),
        ("logging: {mlflow: false, mlflow_tracking_uri: x}", []),
        ("logging: {mlflow: true}", []),
        ("augmentation: {mosaic: {enabled: false, prob: 0.5}, copy_paste: 0}", []),
        ("", []),
    ],
)
def test_keys_without_effect(write: Any, text: str, named: list[str]) -> None:
    warnings = tuple(keys_without_effect(load_config(write(text))))
    assert [warning.split(": ", 1)[1].split(" has no effect")[0] for warning in warnings] == named


def test_an_override_without_effect_is_warned_of_too(write: Any) -> None:
    (warning,) = keys_without_effect(load_config(write(""), ["dataset.category_id=0"]))
    assert "dataset.category_id has no effect" in warning


def test_the_number_of_classes_is_warned_of_where_it_contradicts_the_data(write: Any) -> None:
    loaded = load_config(write("model: {num_classes: 2}"))
    assert not list(keys_without_effect(loaded)) and not list(keys_without_effect(loaded, 2))
    (warning,) = keys_without_effect(loaded, 1)
    assert "model.num_classes has no effect: the number of classes is that of the data, 1." in warning


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("augmentation: {mosaic: {prob: 0.5, off_last_epochs: 10}}", "augmentation.mosaic has no effect: it is off"),
        ("augmentation: {mosaic: {prob: 0.5, off_last_epochs: 9}}", ""),
        ("augmentation: {mosaic: {enabled: false, off_last_epochs: 99}}", ""),
        ("{training: {resolution: 640}, sampling: {crop_px: 672}}", "sampling.crop_px: more than a whole frame's 640"),
        ("{training: {resolution: 640, multi_scale: true}, sampling: {crop_px: 672}}", ""),
        ("{training: {resolution: 96}}", ""),
    ],
)
def test_settings_without_effect_are_warned_of(write: Any, text: str, words: str) -> None:
    warnings = [warning.split(": ", 1)[1] for warning in keys_without_effect(load_config(write(text)))]
    assert len(warnings) == bool(words) and all(warning.startswith(words) for warning in warnings)


@pytest.mark.parametrize(
    "text", ["", "training:\n", "training: {}\nmodel: null\naugmentation:\n", "augmentation: {train: }"]
)
def test_what_is_empty_takes_the_defaults(write: Any, text: str) -> None:
    loaded = load_config(write(text))
    assert loaded.config == Config()
    assert not list(keys_without_effect(loaded))


def test_a_resolved_configuration_reads_back_the_same(write: Any) -> None:
    config = load_config(write(EXISTING)).config
    assert load_config(write(to_yaml(config.to_dict()))).config == config
    assert build_config(config.to_dict(), "again") == config


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().training.epochs = 3  # type: ignore[misc]


# What is said about a wrong file

WRONG = [
    ("trainning: {}", "run.yaml: trainning: unknown key. Did you mean training?"),
    ("training: {epoch: 3}", "run.yaml: training.epoch: unknown key. Did you mean epochs?"),
    ("training: {lr: 3}", "run.yaml: training.lr: unknown key. Known here: activation_checkpointing, batch_size,"),
    ("augmentation: {mosaik: 1}", "run.yaml: augmentation.mosaik: unknown key. Did you mean mosaic?"),
    ("augmentation: {mosaic: {probb: 1}}", "run.yaml: augmentation.mosaic.probb: unknown key. Did you mean prob?"),
    (
        "augmentation: {train: {motion_blur: {max_kernel: 3}}}",
        "run.yaml: augmentation.motion_blur.max_kernel: unknown key. Did you mean max_kernel_size?",
    ),
    ("zzz: 1", "run.yaml: zzz: unknown key. Known here: augmentation, checkpoint, dataset, evaluation, logging"),
    (
        "training: {epochs: many}",
        "run.yaml: training.epochs: got 'many', expected a whole number from 1 up to 1000000. Use 10, for example.",
    ),
    ("training: {epochs: 2.5}", "run.yaml: training.epochs: got 2.5, expected a whole number"),
    ("training: {epochs: }", "run.yaml: training.epochs: got nothing, expected a whole number from 1 up to"),
    ("training: {epochs: 0}", "run.yaml: training.epochs: got 0, expected a whole number from 1 up to"),
    ("training: {epochs: [1, 2]}", "run.yaml: training.epochs: got [1, 2], expected a whole number"),
    (
        "training: {learning_rate: -1e-3}",
        "run.yaml: training.learning_rate: got -0.001, expected a number above 0 up to 1. Use 0.002, for example.",
    ),
    ("training: {learning_rate: .nan}", "run.yaml: training.learning_rate: got nan, expected a number above 0"),
    ("training: {learning_rate: 1e999}", "run.yaml: training.learning_rate: got inf, expected a number above 0"),
    ("training: {device: tpu}", "run.yaml: training.device: got 'tpu', expected auto, cpu, cuda, cuda:0 (or another"),
    ("sampling: {crop_px: 100}", "run.yaml: sampling.crop_px: got 100, expected a whole number from 32 up to 8192 in"),
    ("model: {detector: yolo}", "run.yaml: model.detector: got 'yolo', expected nano or rfdetr."),
    (
        "model: {rfdetr_size: huge}",
        "run.yaml: model.rfdetr_size: got 'huge', expected tiny, nano, small, medium, base or large.",
    ),
    ("dataset: {category_name: 5}", "run.yaml: dataset.category_name: got 5, expected a text."),
    ("training: 5", "run.yaml: training: got 5, expected keys and values."),
    ("training: [1]", "run.yaml: training: got [1], expected keys and values."),
    (
        "augmentation: 5",
        "run.yaml: augmentation: got 5, expected keys and values.",
    ),
    ("augmentation: {train: 5}", "run.yaml: augmentation: train: got 5, expected augmentations by name."),
    (
        "augmentation: {train: [mosaic]}",
        "run.yaml: augmentation: train: got ['mosaic'], expected augmentations by name.",
    ),
    ("augmentation: {mosaic: 1.5}", "run.yaml: augmentation.mosaic.prob: got 1.5, expected a number from 0 up to 1."),
    ("augmentation: {mosaic: -0.5}", "run.yaml: augmentation.mosaic.prob: got -0.5, expected a number from 0 up to 1."),
    (
        "augmentation: {mosaic: often}",
        "run.yaml: augmentation.mosaic: got 'often', expected a probability, true, false, ",
    ),
    (
        "augmentation: {mosaic: {prob: }}",
        "run.yaml: augmentation.mosaic.prob: got nothing, expected a number from 0 up to 1.",
    ),
    ("1: 2", "run.yaml: 1: unknown key. Known here: augmentation, "),
    ("training: {1: 2}", "run.yaml: training.1: unknown key. Known here: activation_"),
    ("- training", "run.yaml: got list at the top, expected keys and values."),
    ("training: {", "run.yaml: not readable as YAML: line 1, column 12: while parsing a flow node, expected"),
    ("training: {epochs: 1, epochs: 2}", "run.yaml: not readable as YAML: line 1: the key 'epochs' is given twice"),
    ("a: &x [1]\nb: *x", "run.yaml: not readable as YAML: aliases (*name) are not allowed"),
    ("a: " + "[" * 40 + "]" * 40, "run.yaml: not readable as YAML: nested deeper than 30 levels"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text[:40] for text, _ in WRONG])
def test_a_wrong_file_gets_one_line_that_teaches(write: Any, text: str, message: str) -> None:
    assert failure(write(text)).startswith(message)


def every_key(section: Section, prefix: str = "") -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        yield from every_key(value, f"{prefix}{name}.") if isinstance(value, Section) else [f"{prefix}{name}"]


JARGON = re.compile(
    r"Input|valid|instance|constrained|literal\[|pattern|[Tt]uple|dict|None|True|False|\b(str|int|bool)\b"
)


@pytest.mark.slow
@pytest.mark.parametrize("key", list(every_key(Config())))
def test_every_key_says_in_plain_words_what_it_takes(key: str) -> None:
    refused = 0
    for value in ("no such word", -1e300, ["a", "b", "c"], {"x": {}}, float("nan")):
        try:
            with_settings(Config(), {key: value}, "run.yaml")
        except ConfigError as error:
            refused += 1
            words = str(error)
            assert words.startswith(f"run.yaml: {key}"), words
            assert re.search(r": got .+, expected .{4,}[.?]$", words) and not JARGON.search(words), words
    assert refused >= 3


@pytest.mark.parametrize("key", list(every_key(Config())))
@pytest.mark.parametrize("value", [True, False, [True, True]], ids=str)
def test_a_truth_value_is_no_number(key: str, value: object) -> None:
    """It is taken as what it is, or refused."""
    try:
        found: Any = with_settings(Config(), {key: value}, "run.yaml")
    except ConfigError as error:
        assert f"run.yaml: {key}: got {str(value).lower()}, expected " in str(error)
        return
    for name in key.split("."):
        found = getattr(found, name)
    assert found is value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {epochs: true}", "training.epochs: got true, expected a whole number from 1 up to 1000000."),
        ("training: {epochs: yes}", "training.epochs: got true, expected a whole number"),
        (
            "augmentation: {mosaic: {prob: true}}",
            "augmentation.mosaic.prob: got true, expected a number from 0 up to 1.",
        ),
        ("augmentation: {mosaic: {scale_range: [true, 2]}}", "got [true, 2], expected [low, high], each a number"),
        ("training: {batch_size: atuo}", "expected a whole number from 1 up to 1000000 or auto. Did you mean auto?"),
        ("training: {memory_budget_mb: 2GB}", "got '2GB', expected a number of MB, for example 2000."),
        ("training: {learning_rate: 1e9}", "expected a number above 0 up to 1. Use 0.002, for example."),
        ("training: {small_object_loss_weight: 1e9}", "expected a number from 1 up to 100. Use 1.0, for example."),
        ("training: {num_workers: 100000}", "expected a whole number from 0 up to 256."),
        ("training: {ema_decay: 1}", "expected a number from 0 to below 1."),
        ("training: {schedule: cosin}", "expected constant or cosine. Did you mean cosine?"),
        ("model: {pretrained: [1]}", "got [1], expected true, false or a file with weights."),
        ("model: {flip_average: maybe}", "got 'maybe', expected true or false."),
        ("augmentation: {mosaic: {tiles: 5}}", "got 5, expected 4 or 9. Use 4, for example."),
        ("augmentation: {copy_paste: {max_pastes: 1000000}}", "expected a whole number from 1 up to 100."),
        ("augmentation: {iso_noise: {noise_level: [0.5]}}", "got [0.5], expected [low, high], each a number from 0 up"),
        (
            "augmentation: {mosaic: {scale_range: [1.4, 0.7]}}",
            "the lower end comes first; got [1.4, 0.7]. Use [0.7, 1.4]",
        ),
        ("evaluation: {sets: data/night}", "or as an override evaluation.sets.night=data/night."),
        (
            "evaluation: {sets: {night: 5}}",
            "evaluation.sets.night: got 5, expected a folder, or keys such as {path: data/night, guards: true}.",
        ),
        ("evaluation: {sets: {night: {guards: true}}}", "evaluation.sets.night.path: got nothing, expected a text."),
        ("evaluation: {sets: {night: {path: a, gaurds: true}}}", "night.gaurds: unknown key. Did you mean guards?"),
        ("checkpoint: {keep: 0}", "checkpoint.keep: got 0, expected a whole number from 1 up to 1000000 or all."),
    ],
)
def test_what_a_value_may_be(write: Any, text: str, said: str) -> None:
    assert said in failure(write(text))


def test_a_set_may_have_a_dash_in_its_name(write: Any) -> None:
    given = load_config(write(""), ["evaluation.sets.night-rain=data/night"]).config.evaluation.sets
    assert given == {"night-rain": EvaluationSet(path="data/night")}


def test_a_set_is_a_folder_or_says_more(write: Any) -> None:
    text = "evaluation: {sets: {a: data/a, b: {path: data/b, guards: true}}}"
    sets = load_config(write(text), ["evaluation.sets.a.guards=true"]).config.evaluation.sets
    assert sets == {"a": EvaluationSet(path="data/a", guards=True), "b": EvaluationSet(path="data/b", guards=True)}


def test_checkpoints_that_stay_are_counted_or_all(write: Any) -> None:
    assert load_config(write("checkpoint: {keep: all}")).config.checkpoint.keep == "all"
    assert load_config(write("checkpoint: {keep: 5}")).config.checkpoint.keep == 5


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file\. Give the path of a YAML file\."):
        load_config(tmp_path / "absent.yaml")


# Overrides


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epohcs=3", "training.epohcs: unknown key. Did you mean epochs?"),
        ("trainning.epochs=3", "trainning: unknown key. Did you mean training?"),
        ("augmentation.train.mosaik=0.3", "augmentation.mosaik: unknown key. Did you mean mosaic?"),
        ("training.epochs=many", "training.epochs: got 'many', expected a whole number"),
        (
            "augmentation.copy_paste=1.5",
            "augmentation.copy_paste.prob: got 1.5, expected a number from 0 up to 1. Use 0.5, for example.",
        ),
        (
            "training.epochs",
            "training.epochs: not an override; expected section.key=value, for example training.epochs=20.",
        ),
        ("epochs=3", "epochs=3: not an override; expected section.key=value"),
        ("training..epochs=3", "training..epochs=3: not an override"),
        ("--epochs=3", "--epochs=3: not an override"),
        ("training.epochs=[1", "training.epochs=[1: not readable as YAML: "),
        (
            "model.detector.size=1",
            "model.detector.size: can't be set; model.detector is 'nano', expected keys and values.",
        ),
    ],
)
def test_a_wrong_override_is_named(write: Any, override: str, message: str) -> None:
    assert failure(write("model: {detector: nano}"), override).startswith(message)


def test_an_override_does_not_hide_or_take_the_blame_for_a_fault_of_the_file(write: Any) -> None:
    path = write("training: {epochs_: 4}")
    assert failure(path, "training.epochs=3").startswith(
        "run.yaml: training.epochs_: unknown key. Did you mean epochs?"
    )
    path = write("training: 5")
    assert failure(path, "training.epochs=3").startswith("training.epochs: can't be set; training is 5, expected keys")


@pytest.mark.parametrize(
    ("given", "value"),
    [("2e-4", 2e-4), ("0.01", 0.01), ("1", 1.0)],
)
def test_override_values_are_read_as_yaml(write: Any, given: str, value: float) -> None:
    path = write("training: {learning_rate: 0.5}")
    assert load_config(path, [f"training.learning_rate={given}"]).config.training.learning_rate == value


def test_override_values_may_hold_an_equals_sign_and_be_empty(write: Any) -> None:
    given = parse_overrides(["dataset.coco_train_path=/data/a=b", "dataset.coco_val_path=", "model.pretrained=true"])
    assert given == {"dataset.coco_train_path": "/data/a=b", "dataset.coco_val_path": None, "model.pretrained": True}


def test_overrides_lie_over_the_file_and_the_last_one_counts(write: Any) -> None:
    path = write("training: {epochs: 7, batch_size: 3}\nmodel:\n")
    config = load_config(
        path, ["training.epochs=8", "training.epochs=9", "model.width=2", "output.output_dir=x"]
    ).config
    assert (config.training.epochs, config.training.batch_size) == (9, 3)
    assert (config.model.width, config.output.output_dir) == (2.0, "x")


@pytest.mark.parametrize("wrap", ["augmentation: {{{}}}", "augmentation: {{train: {{{}}}}}"], ids=["bare", "train"])
@pytest.mark.parametrize("prefix", ["augmentation.", "augmentation.train."])
@pytest.mark.parametrize(
    ("text", "override", "expected"),
    [
        ("copy_paste: 0.5", "copy_paste.prob=0.3", (True, 0.3, 3)),
        ("copy_paste: true", "copy_paste.prob=0.3", (True, 0.3, 3)),
        ("copy_paste: false", "copy_paste.prob=0.3", (False, 0.3, 3)),
        ("copy_paste: 0.5", "copy_paste.max_pastes=7", (True, 0.5, 7)),
        ("copy_paste: 0.5", "copy_paste.enabled=false", (False, 0.5, 3)),
        ("copy_paste: 0.5", "copy_paste=0.2", (True, 0.2, 3)),
        ("copy_paste: 0.5", "copy_paste=0", (False, 0.0, 3)),
        ("copy_paste: {enabled: true, prob: 0.5, max_pastes: 4}", "copy_paste.prob=0.3", (True, 0.3, 4)),
        ("copy_paste: {enabled: false, prob: 0.5}", "copy_paste.prob=0.3", (False, 0.3, 3)),
        ("copy_paste: {enabled: false, prob: 0.5}", "copy_paste.enabled=true", (True, 0.5, 3)),
        ("", "copy_paste.prob=0.3", (True, 0.3, 3)),
        ("copy_paste: {prob: 0.4}", "copy_paste.max_pastes=2", (True, 0.4, 2)),
    ],
)
def test_an_override_goes_into_a_switch_of_any_shape(
    write: Any, wrap: str, prefix: str, text: str, override: str, expected: tuple[bool, float, int]
) -> None:
    paste = load_config(write(wrap.format(text)), [prefix + override]).config.augmentation.copy_paste
    assert (paste.enabled, paste.prob, paste.max_pastes) == expected


# Switches


@pytest.mark.parametrize(
    ("value", "chance"),
    [
        (0.3, 0.3),
        (1, 1.0),
        (0, 0.0),
        (0.0, 0.0),
        (True, 0.5),
        (False, 0.0),
        ({"prob": 0.2}, 0.2),
        ({"prob": 0}, 0.0),
        ({"enabled": False, "prob": 0.7}, 0.0),
        ({"enabled": True, "prob": 0.7}, 0.7),
        ({"enabled": True}, 0.5),
        ({}, 0.0),
    ],
)
def test_switches_in_every_shape(value: Any, chance: float) -> None:
    for content in ({"mosaic": value}, {"train": {"mosaic": value}}):
        assert build_config({"augmentation": content}, "x").augmentation.mosaic.chance == chance


def test_what_stands_beside_train_counts_and_settings_for_validation_do_not() -> None:
    content = {"train": {"mosaic": 0.3}, "val": {"resize": 5}, "horizontal_flip": 0.1}
    augmentation = build_config({"augmentation": content}, "x").augmentation
    assert (augmentation.mosaic.prob, augmentation.horizontal_flip.prob) == (0.3, 0.1)
    with pytest.raises(ConfigError, match=r"x: augmentation\.val: unknown key"):
        build_config({"augmentation": {"val": {}}}, "x")


def test_building_does_not_change_what_it_reads() -> None:
    content = {"augmentation": {"train": {"mosaic": 0.3}}, "training": {"epochs": 3}}
    before = yaml.safe_dump(content)
    config = build_config(content, "x")
    with_settings(config, {"training.epochs": 5, "augmentation.mosaic.prob": 0.1}, "phase")
    assert yaml.safe_dump(content) == before
    assert config.training.epochs == 3


# Settings of a phase


def test_settings_replace_dotted_keys() -> None:
    config = with_settings(Config(), {"training.epochs": 5, "augmentation.mosaic.enabled": True}, "phase")
    assert config.training.epochs == 5
    assert config.augmentation.mosaic.enabled
    assert config.training.batch_size == Config().training.batch_size


def test_a_setting_that_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^phase: training\.epochs: got 0, expected a whole number from 1 "):
        with_settings(Config(), {"training.epochs": 0}, "phase")


# What is derived


@pytest.mark.parametrize(
    ("resolution", "expanded", "scales"),
    [
        (1120, False, (952, 1008, 1064, 1120, 1176, 1232, 1288, 1344)),
        (1120, True, (840, 896, 952, 1008, 1064, 1120, 1176, 1232, 1288, 1344, 1400)),
        (1288, False, (1120, 1176, 1232, 1288, 1344, 1400, 1456, 1512)),
        (1288, True, (1008, 1064, 1120, 1176, 1232, 1288, 1344, 1400, 1456, 1512, 1568)),
    ],
)
def test_scales_are_those_of_rfdetr(resolution: int, expanded: bool, scales: tuple[int, ...]) -> None:
    settings = {"resolution": resolution, "multi_scale": True, "expanded_scales": expanded}
    assert training_scales(build_config({"training": settings}, "x"), 56) == scales


@pytest.mark.parametrize("step", [1, 8, 14, 32, 56])
@pytest.mark.parametrize("resolution", [32, 100, 640, 1120, 1288, 8192])
def test_scales_are_multiples_of_the_step_around_the_resolution(resolution: int, step: int) -> None:
    for expanded, (low, high) in ((False, (0.85, 1.2)), (True, (0.75, 1.25))):
        settings = {"resolution": resolution, "multi_scale": True, "expanded_scales": expanded}
        scales = training_scales(build_config({"training": settings}, "x"), step)
        assert list(scales) == sorted(set(scales))
        assert scales
        if scales != (resolution,):
            assert all(scale % step == 0 for scale in scales)
            assert low * resolution <= scales[0] + 1e-6
            assert scales[-1] <= high * resolution + 1e-6
        if resolution % step == 0:
            assert resolution in scales


def test_one_scale_without_multi_scale() -> None:
    settings = {"resolution": 1120, "expanded_scales": True}
    assert training_scales(build_config({"training": settings}, "x"), 56) == (1120,)


def test_dataset_paths_hold_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALLSIGHT_TEST_DATA", "/data/one")
    monkeypatch.setenv("HOME", "/home/someone")
    assert filled_path("key", "${SMALLSIGHT_TEST_DATA}/train") == Path("/data/one/train")
    assert filled_path("key", "~/$SMALLSIGHT_TEST_DATA/valid") == Path("/home/someone//data/one/valid")


@pytest.mark.parametrize("spelling", ["$SMALLSIGHT_ABSENT/train", "${SMALLSIGHT_ABSENT}/train"])
def test_an_environment_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.delenv("SMALLSIGHT_ABSENT", raising=False)
    with pytest.raises(ConfigError) as caught:
        filled_path("dataset.coco_train_path", spelling)
    expected = "dataset.coco_train_path: the environment variable SMALLSIGHT_ABSENT is not set. Set it, or pass "
    assert str(caught.value) == expected + "dataset.coco_train_path=FOLDER."
