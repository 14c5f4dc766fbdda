"""Energy as the machine counts it: of processors by RAPL, of an NVIDIA accelerator by NVML."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

POWER_ZONES = Path("/sys/class/powercap")
"""Where Linux shows the energy counters of processors."""

# Other zones at the top overlap with these: `psys` counts the whole board.
_PACKAGE, _MEMORY = "package-", "dram"
# The counter of a busy server turns over after some twenty minutes; one turn between two looks is noticed.
_SECONDS_BETWEEN_LOOKS = 60.0


@dataclass(slots=True)
class _Zone:
    """A counter in microjoules that begins again at 0 after `turn`."""

    path: Path
    turn: int
    last: int
    total: int = 0

    def look(self) -> None:
        now = int(self.path.read_text(encoding="ascii"))
        self.total += now - self.last + (self.turn if now < self.last else 0)
        self.last = now


class EnergyCounter:
    """Joules that the machine used since the counter was made.

    Processor packages and their memory count, and the accelerator if `device` is one. All processes of the
    machine are in it. Where a part cannot be read (RAPL is often readable by root only, NVML needs the
    package `pynvml`), nothing is said rather than too little.
    """

    def __init__(self, device: torch.device | str = "cpu", *, root: Path = POWER_ZONES) -> None:
        self._lock = threading.Lock()
        self._is_readable = True
        self._ended = threading.Event()
        self._accelerator: Callable[[], float] | None = None
        self._accelerator_start = 0.0
        self._zones: list[_Zone] = []
        try:
            self._zones = _zones(root)
            if torch.device(device).type != "cpu":
                self._accelerator = _accelerator_joules(torch.device(device))
                self._accelerator_start = self._accelerator()
        except (OSError, ValueError, ImportError, _Unreadable):
            self._is_readable = False
        if self._is_readable:
            threading.Thread(target=self._look_now_and_then, name="tuningfork-energy", daemon=True).start()

    def joules(self) -> float | None:
        """Energy so far; None where it cannot be read."""
        if not self._look():
            return None
        used = sum(zone.total for zone in self._zones) / 1e6
        try:
            return used + (
                0.0 if self._accelerator is None else self._accelerator() - self._accelerator_start
            )
        except _Unreadable:
            return None

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()

    def _look(self) -> bool:
        with self._lock:
            if not self._is_readable:
                return False
            try:
                for zone in self._zones:
                    zone.look()
            except (OSError, ValueError):
                self._is_readable = False
            return self._is_readable

    def _look_now_and_then(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS) and self._look():
            pass


class _Unreadable(Exception):
    """A counter is not there, or may not be read."""


def _zones(root: Path) -> list[_Zone]:
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):
        name = (folder / "name").read_text(encoding="ascii").strip()
        if name.startswith(_PACKAGE) or name == _MEMORY:
            counter = folder / "energy_uj"
            turn = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
            found.append(_Zone(counter, turn, int(counter.read_text(encoding="ascii"))))
    if not found:
        raise _Unreadable
    return found


def _accelerator_joules(device: torch.device) -> Callable[[], float]:
    """The energy counter of an NVIDIA device, in joules since its driver was loaded.

    Raises:
        ImportError: `pynvml` is not installed.
        _Unreadable: The device is another, or too old to count.
    """
    if device.type != "cuda":
        raise _Unreadable
    nvml = import_module("pynvml")
    try:
        nvml.nvmlInit()
        # Numbers of NVML and CUDA differ where some devices are hidden; the identity does not.
        identity = str(torch.cuda.get_device_properties(device).uuid)
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity}")
    except nvml.NVMLError as error:
        raise _Unreadable from error

    def joules() -> float:
        with suppress(nvml.NVMLError):
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
        raise _Unreadable

    return joules
