import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from tests.power_zones import TURN, power_zone
from tuningfork.evaluation.energy import EnergyCounter


def test_packages_and_memory_are_added_up(tmp_path: Path) -> None:
    zones = [
        power_zone(tmp_path, "0", "package-0", 1_000_000),
        power_zone(tmp_path, "1", "package-1", 2_000_000),
        power_zone(tmp_path, "0:1", "dram", 0),
        power_zone(tmp_path, "0:0", "core", 0),
        power_zone(tmp_path, "2", "psys", 0),
    ]
    counter = EnergyCounter(root=tmp_path)
    assert counter.joules() == 0
    for zone, microjoules in zip(zones, (3_000_000, 2_500_000, 250_000, 9_000_000, 9_000_000), strict=True):
        zone.write_text(f"{microjoules}\n")
    assert counter.joules() == pytest.approx(2.0 + 0.5 + 0.25)
    assert counter.joules() == pytest.approx(2.75)
    counter.close()


def test_a_counter_that_turned_over_goes_on(tmp_path: Path) -> None:
    zone = power_zone(tmp_path, "0", "package-0", TURN - 1_000_000)
    counter = EnergyCounter(root=tmp_path)
    zone.write_text("2000000\n")
    assert counter.joules() == pytest.approx(3.0)
    zone.write_text("1000000\n")
    assert counter.joules() == pytest.approx(3.0 + TURN / 1e6 - 1.0)
    counter.close()


def test_a_long_measurement_is_looked_at_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuningfork.evaluation.energy._SECONDS_BETWEEN_LOOKS", 0.01)
    zone = power_zone(tmp_path, "0", "package-0", TURN - 1)
    counter = EnergyCounter(root=tmp_path)
    zone.write_text("5\n")
    looked = counter._zones[0]
    while looked.last != 5:
        pass
    zone.write_text(f"{TURN - 1}\n")
    while looked.last == 5:
        pass
    # Seen only at the end, the counter would stand where it stood at the start.
    assert counter.joules() == pytest.approx(TURN / 1e6)
    counter.close()


@pytest.mark.parametrize("content", [None, "", "no number"])
def test_what_cannot_be_read_is_none(tmp_path: Path, content: str | None) -> None:
    assert EnergyCounter(root=tmp_path / "missing").joules() is None
    zone = power_zone(tmp_path, "0", "package-0", 5)
    counter = EnergyCounter(root=tmp_path)
    if content is None:
        zone.unlink()
    else:
        zone.write_text(content)
    assert EnergyCounter(root=tmp_path).joules() is None
    assert counter.joules() is None
    zone.write_text("7")
    assert counter.joules() is None
    counter.close()


def test_only_other_zones_say_nothing(tmp_path: Path) -> None:
    power_zone(tmp_path, "0", "psys", 5)
    assert EnergyCounter(root=tmp_path).joules() is None


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for the driver: what pynvml and torch say of one device."""
    state = SimpleNamespace(millijoules=1000, asked="", refuses=False)

    def consumption(handle: str) -> int:
        state.asked = handle
        if state.refuses:
            raise NVMLError
        return int(state.millijoules)

    module = ModuleType("pynvml")
    vars(module).update(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
    return state


def test_an_accelerator_is_added(tmp_path: Path, nvml: SimpleNamespace) -> None:
    zone = power_zone(tmp_path, "0", "package-0", 0)
    counter = EnergyCounter("cuda:0", root=tmp_path)
    nvml.millijoules = 4500
    zone.write_text("500000")
    assert counter.joules() == pytest.approx(3.5 + 0.5)
    assert nvml.asked == "GPU-12-34"
    nvml.refuses = True
    assert counter.joules() is None
    counter.close()


def test_a_part_alone_is_not_taken_for_the_whole(
    tmp_path: Path, nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EnergyCounter("cuda", root=tmp_path).joules() is None
    power_zone(tmp_path, "0", "package-0", 0)
    nvml.refuses = True
    assert EnergyCounter("cuda", root=tmp_path).joules() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert EnergyCounter("cuda", root=tmp_path).joules() is None
    assert EnergyCounter("mps", root=tmp_path).joules() is None
