"""The library's own download of published weights, with an answer within seconds where there is no network."""

from __future__ import annotations

import urllib.error
import urllib.request
import warnings
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from rfdetr import config as library
    from rfdetr.assets.model_weights import ModelWeights, download_pretrain_weights, get_model_cache_dir

from smallsight.config.detectors import RFDETR_SIZES
from smallsight.errors import ConfigError

ANSWER_WITHIN_S = 5.0


def published_weights(size_name: str, source: str) -> Path:
    """The file of published weights of a size, from the library's cache or the network.

    Raises:
        ConfigError: there are none for this size; they are not here and can't be fetched.
    """
    name = getattr(library, RFDETR_SIZES[size_name].library_config).model_fields["pretrain_weights"].default
    if size_name == "tiny":
        raise ConfigError(f"{source}: model.pretrained: no weights are published for RF-DETR tiny. Set it to false.")
    path = Path(get_model_cache_dir()) / str(name)
    if path.is_file():
        return path
    try:
        asset = ModelWeights.from_filename(str(name))
        if asset is None:
            raise ConfigError(f"{source}: model.pretrained: the library publishes no {name}. Set it to false.")
        _ask(asset.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        download_pretrain_weights(str(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConfigError(
            f"{source}: model.pretrained: the weights of RF-DETR {size_name} can't be fetched ({reason}). Put {name} "
            f"into {path.parent}, name a local file (model.pretrained=FILE), or start without (model.pretrained=false)."
        ) from error
    return path


def _ask(url: str) -> None:
    """Make sure that the address answers, because the download itself would wait long.

    Raises:
        OSError: it does not answer.
    """
    request = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S):
        pass
