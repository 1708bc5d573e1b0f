from __future__ import annotations

import pytest
import torch

from smallsight.errors import ConfigError
from smallsight.training.device import precision_of, resolve_device
from smallsight.training.processes import Processes


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_each_process_has_the_device_of_its_place(wanted: str) -> None:
    """The third process of two machines with two devices is the first one on its own. A device always has its index:
    parts of torch refuse one without.
    """
    assert resolve_device(wanted) == torch.device("cuda:0")
    assert resolve_device(wanted, Processes(2, 4, 0)) == torch.device("cuda:0")
    assert resolve_device(wanted, Processes(1, 2, 1)) == torch.device("cuda:1")


@pytest.mark.usefixtures("two_gpus")
def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.devices: this machine has 2 CUDA devices"):
        resolve_device("auto", Processes(2, 3, 2))
    with pytest.raises(ConfigError, match=r"training\.device: cuda:1 is one device"):
        resolve_device("cuda:1", Processes(0, 2, 0))
    with pytest.raises(ConfigError, match=r"training\.device: cuda:2 is not on this machine"):
        resolve_device("cuda:2")


def test_on_the_cpu_processes_share_it_and_nothing_is_mixed() -> None:
    assert resolve_device("cpu", Processes(1, 2, 1)) == torch.device("cpu")
    assert precision_of(True, torch.device("cpu")) == "32-true"
