import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import torch

from tuningfork.models.machine import MachineFact, MachineReport, describe_machine, peak_memory_bytes

MALLOC_SETTINGS = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184"}


@pytest.fixture(scope="module")
def report() -> MachineReport:
    return describe_machine()


@pytest.fixture
def sound(report: MachineReport, tmp_path: Path) -> MachineReport:
    """A report of a machine about which there is nothing to say."""
    return replace(
        report,
        package_versions=dict.fromkeys(report.package_versions, "1.0"),
        accelerators=(),
        cpu_features=("avx512f", "avx512_bf16"),
        usable_cores=4,
        torch_threads=4,
        available_memory_bytes=8_000_000_000,
        allocator_settings=MALLOC_SETTINGS,
        uses_glibc=True,
        cache_folder=tmp_path,
        cache_is_writable=True,
        missing_bundled_files=(),
        no_quantization=None,
    )


def fact(report: MachineReport, name: str) -> MachineFact:
    return next(row for row in report.rows() if row.name == name)


def test_report_holds_what_other_sources_say(report: MachineReport, bundled_model_folder: Path) -> None:
    assert report.package_versions["torch"] == metadata.version("torch")
    assert report.torch_threads == torch.get_num_threads()
    assert report.total_memory_bytes <= psutil.virtual_memory().total
    assert 0 < report.available_memory_bytes < report.total_memory_bytes
    assert 1 <= report.usable_cores <= (os.cpu_count() or 1)
    assert report.missing_bundled_files == ()
    assert fact(report, "bundled model").value == str(bundled_model_folder)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_cpu_features_agree_with_torch(report: MachineReport) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    assert ("avx512f" in report.cpu_features) >= (capability == "AVX512")
    assert ("avx2" in report.cpu_features) >= (capability in {"AVX2", "AVX512"})


def test_sound_machine_gets_no_advice(sound: MachineReport) -> None:
    assert [row for row in sound.rows() if row.status != "ok" or row.advice] == []


@pytest.mark.parametrize(
    ("change", "name", "status", "advice"),
    [
        ({"package_versions": {"datasets": None}}, "datasets", "advice", "pip install 'tuningfork[hub]'"),
        ({"package_versions": {"torch": None}}, "torch", "problem", "pip install torch"),
        ({"cpu_features": ("avx2",)}, "cpu", "advice", "float32 is the fast number format here"),
        ({"torch_threads": 8}, "threads", "advice", "export OMP_NUM_THREADS=4"),
        ({"torch_threads": 1}, "threads", "advice", "cores stand idle: export OMP_NUM_THREADS=4"),
        ({"available_memory_bytes": 10**9}, "memory", "advice", "close other programs"),
        ({"allocator_settings": {}}, "allocator", "advice", "export MALLOC_MMAP_THRESHOLD_=8589934592"),
        ({"cache_is_writable": False}, "model cache", "problem", "export HF_HOME="),
        ({"missing_bundled_files": ("config.json",)}, "bundled model", "problem", "reinstall"),
        ({"no_quantization": "runs on cuda"}, "quantization", "advice", "runs on cuda"),
    ],
)
def test_each_weakness_gets_its_advice(
    sound: MachineReport, change: dict[str, object], name: str, status: str, advice: str
) -> None:
    row = fact(replace(sound, **change), name)  # type: ignore[arg-type]
    assert row.status == status
    assert advice in row.advice


def test_a_missing_package_is_advised_once(sound: MachineReport) -> None:
    report = replace(sound, package_versions={"bitsandbytes": None}, no_quantization="not installed")
    assert fact(report, "quantization") == MachineFact("quantization", "none without bitsandbytes")
    assert fact(sound, "quantization").value == "8bit and 4bit"


def test_the_advice_for_a_missing_package_installs_it(sound: MachineReport) -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    extras = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for package in ("datasets", "peft", "bitsandbytes"):
        advice = fact(replace(sound, package_versions={package: None}), package).advice
        extra = advice.partition("tuningfork[")[2].partition("]")[0]
        assert any(requirement.startswith(package) for requirement in extras[extra])


@pytest.mark.parametrize(
    "change",
    [
        {"allocator_settings": {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}},
        {"allocator_settings": {}, "uses_glibc": False},
        {"cpu_features": (), "accelerators": ("cuda:0 H200",)},
        {"torch_threads": 1, "accelerators": ("cuda:0 H200",)},
    ],
)
def test_no_advice_where_it_would_not_help(sound: MachineReport, change: dict[str, object]) -> None:
    assert [row for row in replace(sound, **change).rows() if row.advice] == []  # type: ignore[arg-type]


def test_allocator_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*MALLOC_SETTINGS, "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    assert describe_machine().allocator_settings == {}
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    assert describe_machine().allocator_settings == {"MALLOC_TRIM_THRESHOLD_": "1"}


def test_cache_below_a_file_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "new" / "hub"))
    assert describe_machine().cache_is_writable
    (tmp_path / "new").write_text("a file", encoding="utf-8")
    assert not describe_machine().cache_is_writable


def test_peak_memory_keeps_the_highest_point() -> None:
    before = peak_memory_bytes()
    assert before >= psutil.Process().memory_info().rss * 0.9
    buffer = torch.ones(before // 4, dtype=torch.float32)
    del buffer
    assert peak_memory_bytes() > before


def test_peak_memory_of_a_child_is_its_own() -> None:
    buffer = torch.ones(500_000_000, dtype=torch.uint8)
    code = "from tuningfork.models.machine import peak_memory_bytes; print(peak_memory_bytes())"
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(child.stdout) < peak_memory_bytes() - buffer.numel() // 2


@pytest.mark.gpu
def test_peak_memory_of_a_cuda_device() -> None:
    torch.cuda.reset_peak_memory_stats()
    before = peak_memory_bytes("cuda")
    buffer = torch.ones(10_000_000, dtype=torch.uint8, device="cuda")
    assert peak_memory_bytes("cuda") >= before + buffer.numel()
