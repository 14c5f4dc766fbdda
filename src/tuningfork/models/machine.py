"""What this machine offers and what holds it back: the facts behind `tuningfork doctor`."""

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
import torch
from huggingface_hub import constants as hub_constants

from tuningfork import __version__
from tuningfork.models.loading import best_device, bundled_folder
from tuningfork.models.quantization import why_not_quantized

if sys.platform != "win32":
    import resource

Status = Literal["ok", "advice", "problem"]

_REQUIRED_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")
_OPTIONAL_PACKAGES = {
    "datasets": ("hub", "reading datasets from the Hugging Face hub"),
    "peft": ("peft", "comparing with PEFT"),
    "bitsandbytes": ("quantized", "base models in 8 or 4 bits"),
}
_BUNDLED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
# The features of `/proc/cpuinfo` that decide how fast torch multiplies matrices.
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "bf16", "sve")
_BFLOAT16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# Without these two, glibc returns each large tensor to the system and faults it in again on the next step.
# Filling 100 MB tensors one after the other took 16 times as long without them (AMD EPYC, glibc 2.36).
_ALLOCATOR_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
_LARGE_TENSOR_BYTES = 1 << 30
_SCARCE_MEMORY_BYTES = 2_000_000_000


@dataclass(frozen=True, slots=True)
class MachineFact:
    """One line of the report: a name, what was found, and what to do about it."""

    name: str
    value: str
    status: Status = "ok"
    """`advice`: it works, but could be faster or do more. `problem`: something fails until it is fixed."""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class MachineReport:
    """What was found on this machine; `rows` says what it means."""

    python_version: str
    platform_name: str
    package_versions: Mapping[str, str | None]
    """Version of each package that matters, or None where it is not installed."""
    accelerators: tuple[str, ...]
    """Names of the CUDA and MPS devices; empty on a machine that has only its CPU."""
    cpu_name: str
    cpu_features: tuple[str, ...]
    usable_cores: int
    """Cores this process may use: the affinity mask, within the quota of the container."""
    torch_threads: int
    total_memory_bytes: int
    available_memory_bytes: int
    allocator_settings: Mapping[str, str]
    """The `MALLOC_*` and `LD_PRELOAD` variables that are set."""
    uses_glibc: bool
    cache_folder: Path
    cache_is_writable: bool
    missing_bundled_files: tuple[str, ...]
    no_quantization: str | None
    """Why base models cannot be quantised for the device that is used here; None if they can."""

    def rows(self) -> list[MachineFact]:
        """The report as facts to print, in reading order."""
        return [
            MachineFact("tuningfork", __version__),
            MachineFact("python", f"{self.python_version} on {self.platform_name}"),
            *(self._package_row(name) for name in self.package_versions),
            MachineFact("device", ", ".join(self.accelerators) or "cpu"),
            self._cpu_row(),
            self._threads_row(),
            self._memory_row(),
            self._allocator_row(),
            self._cache_row(),
            self._bundled_model_row(),
            self._quantization_row(),
        ]

    def _package_row(self, name: str) -> MachineFact:
        version = self.package_versions[name]
        if version is not None:
            return MachineFact(name, version)
        if name in _OPTIONAL_PACKAGES:
            extra, purpose = _OPTIONAL_PACKAGES[name]
            advice = f"only needed for {purpose}: pip install 'tuningfork[{extra}]'"
            return MachineFact(name, "not installed", "advice", advice)
        return MachineFact(name, "not installed", "problem", f"pip install {name}")

    def _cpu_row(self) -> MachineFact:
        value = f"{self.cpu_name} ({' '.join(self.cpu_features) or 'no vector features known'})"
        if self.accelerators or _BFLOAT16_FEATURES.intersection(self.cpu_features):
            return MachineFact("cpu", value)
        return MachineFact(
            "cpu", value, "advice", "no bfloat16 instructions: float32 is the fast number format here"
        )

    def _threads_row(self) -> MachineFact:
        value = f"torch uses {self.torch_threads} of {self.usable_cores} usable cores"
        if self.torch_threads > self.usable_cores:
            advice = f"threads wait for each other: export OMP_NUM_THREADS={self.usable_cores}"
            return MachineFact("threads", value, "advice", advice)
        if self.torch_threads < self.usable_cores and not self.accelerators:
            advice = f"cores stand idle: export OMP_NUM_THREADS={self.usable_cores}"
            return MachineFact("threads", value, "advice", advice)
        return MachineFact("threads", value)

    def _memory_row(self) -> MachineFact:
        value = (
            f"{_gigabytes(self.available_memory_bytes)} available of {_gigabytes(self.total_memory_bytes)}"
        )
        if self.available_memory_bytes < _SCARCE_MEMORY_BYTES:
            return MachineFact(
                "memory", value, "advice", "even the bundled model wants 2 GB: close other programs"
            )
        return MachineFact("memory", value)

    def _allocator_row(self) -> MachineFact:
        value = " ".join(f"{name}={setting}" for name, setting in self.allocator_settings.items())
        threshold = self.allocator_settings.get("MALLOC_MMAP_THRESHOLD_", "0")
        keeps_large_tensors = threshold.isdecimal() and int(threshold) >= _LARGE_TENSOR_BYTES
        if not self.uses_glibc or "LD_PRELOAD" in self.allocator_settings or keeps_large_tensors:
            return MachineFact("allocator", value or "system default")
        settings = " ".join(f"{name}={setting}" for name, setting in _ALLOCATOR_SETTINGS.items())
        advice = f"large tensors are returned to the system at each step; before starting: export {settings}"
        return MachineFact("allocator", value or "glibc default", "advice", advice)

    def _cache_row(self) -> MachineFact:
        if self.cache_is_writable:
            return MachineFact("model cache", str(self.cache_folder))
        advice = "cannot be written, so no model can be downloaded: export HF_HOME=/a/folder/you/own"
        return MachineFact("model cache", str(self.cache_folder), "problem", advice)

    def _bundled_model_row(self) -> MachineFact:
        if not self.missing_bundled_files:
            return MachineFact("bundled model", str(bundled_folder()))
        missing = ", ".join(self.missing_bundled_files)
        advice = "reinstall: pip install --force-reinstall --no-deps tuningfork"
        return MachineFact("bundled model", f"{missing} missing in {bundled_folder()}", "problem", advice)

    def _quantization_row(self) -> MachineFact:
        if self.no_quantization is None:
            return MachineFact("quantization", "8bit and 4bit")
        if self.package_versions.get("bitsandbytes") is None:
            return MachineFact("quantization", "none without bitsandbytes")
        return MachineFact("quantization", "none", "advice", self.no_quantization)


def describe_machine() -> MachineReport:
    """Look at packages, devices, cores, memory, allocator, cache and the bundled model; changes nothing."""
    total, available = _memory_bytes()
    cpu_name, cpu_features = _cpu()
    cache_folder = Path(hub_constants.HF_HUB_CACHE)
    return MachineReport(
        python_version=platform.python_version(),
        platform_name=f"{platform.system()} {platform.machine()}",
        package_versions={name: _version(name) for name in (*_REQUIRED_PACKAGES, *_OPTIONAL_PACKAGES)},
        accelerators=_accelerators(),
        cpu_name=cpu_name,
        cpu_features=cpu_features,
        usable_cores=usable_cores(),
        torch_threads=torch.get_num_threads(),
        total_memory_bytes=total,
        available_memory_bytes=available,
        allocator_settings={
            name: os.environ[name] for name in (*_ALLOCATOR_SETTINGS, "LD_PRELOAD") if os.environ.get(name)
        },
        uses_glibc=platform.libc_ver()[0] == "glibc",
        cache_folder=cache_folder,
        cache_is_writable=_is_writable(cache_folder),
        missing_bundled_files=tuple(f for f in _BUNDLED_FILES if not (bundled_folder() / f).is_file()),
        no_quantization=why_not_quantized(best_device().type),
    )


def peak_memory_bytes(device: torch.device | str = "cpu") -> int:
    """Most memory in use so far: of this process for a CPU, of torch's allocator for a CUDA device."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # getrusage would report the parent's peak when that is larger and the parent used vfork.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def available_memory_bytes(device: torch.device | str = "cpu") -> int:
    """Memory that is free now for what runs on `device`: of a CUDA device its own, else of this machine."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _memory_bytes()[1]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _accelerators() -> tuple[str, ...]:
    names = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return tuple(names)


def _cpu() -> tuple[str, tuple[str, ...]]:
    """The processor's name and those of its features that torch can use."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine(), (torch.backends.cpu.get_cpu_capability().lower(),)
    fields: dict[str, str] = {}
    for line in cpuinfo.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    # x86 calls the list `flags`, ARM calls it `Features`.
    present = set(fields.get("flags", fields.get("Features", "")).split())
    return fields.get("model name", platform.machine()), tuple(f for f in _CPU_FEATURES if f in present)


def usable_cores() -> int:
    """Cores this process may use: the affinity mask, within the quota of the container."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _cgroup_setting("cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        return max(1, min(cores, round(int(quota) / int(period))))
    return cores


def _memory_bytes() -> tuple[int, int]:
    """Total and available memory, within the limit of the container."""
    memory = psutil.virtual_memory()
    limit, used = _cgroup_setting("memory.max"), _cgroup_setting("memory.current")
    if not (limit.isdecimal() and used.isdecimal()) or int(limit) >= memory.total:
        return memory.total, memory.available
    return int(limit), min(memory.available, max(0, int(limit) - int(used)))


def _cgroup_setting(name: str) -> str:
    """A limit of the container this runs in (cgroup v2); empty or `max` where there is none."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _is_writable(folder: Path) -> bool:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
