"""What a run may train on, and what is refused before anything is started."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from facegender.support.errors import UserError
from facegender.training import hardware as module
from facegender.training.hardware import choose_hardware
from tests.ml.conftest import tiny


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "MASTER_ADDR", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def refusal(**changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        choose_hardware(tiny(**changes))
    return str(caught.value)


def test_more_devices_than_processors_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_processors", lambda: 4)
    assert choose_hardware(tiny(devices="4")).devices == 4
    assert refusal(devices="5").startswith("--devices 5: this machine has 4 processors")
    monkeypatch.setattr(module, "available_processors", lambda: 1)
    assert "this machine has 1 processor, " in refusal(devices="99")


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_hardware(tiny(accelerator="auto", devices="2", precision="auto")).precision == "bf16"
    assert refusal(accelerator="gpu", devices="3") == "--devices 3: this machine has 2 GPUs; give at most 2"


def test_several_machines_need_a_cluster_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(num_nodes=2).startswith("--num-nodes 2: nothing says where the other machines are")
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    assert choose_hardware(tiny(num_nodes=2)).nodes == 2


def test_under_torchrun_the_devices_are_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", "2"), ("WORLD_SIZE", "6")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(module, "available_processors", lambda: 2)
    chosen = choose_hardware(tiny())
    assert (chosen.devices, chosen.nodes) == (2, 3)
    assert choose_hardware(tiny(devices="2", num_nodes=3)) == chosen
    assert "torchrun has started 2 processes on this machine" in refusal(devices="3")
    assert "--num-nodes 2: torchrun has started 3" in refusal(num_nodes=2)
