import os
import platform
import subprocess
import sys

import pytest

from tuningfork.models.process import let_waiting_threads_sleep

PROGRAM = """
import ctypes, resource
from tuningfork.models.process import keep_freed_memory
print(keep_freed_memory() if {is_asked} else None)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
for _ in range(20):
    block = libc.malloc(ctypes.c_size_t(40_000_000))
    ctypes.memset(block, 1, 40_000_000)
    libc.free(ctypes.c_void_p(block))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
NO_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "",
    "MALLOC_TRIM_THRESHOLD_": "",
    "GLIBC_TUNABLES": "",
    "LD_PRELOAD": "",
}


def run(*, is_asked: bool, **environment: str) -> tuple[str, int]:
    kept = {name: value for name, value in {**os.environ, **NO_SETTINGS, **environment}.items() if value}
    program = PROGRAM.format(is_asked=is_asked)
    output = subprocess.run(
        [sys.executable, "-c", program], env=kept, capture_output=True, text=True, check=True
    )
    answer, faults = output.stdout.split()
    return answer, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_kept_and_not_faulted_in_again() -> None:
    answer, faults = run(is_asked=True)
    _, faults_without = run(is_asked=False)
    assert answer == "True"
    # Twenty blocks of 40 MB are 195,312 pages of 4 kB; all but the first come from kept memory.
    assert faults < faults_without / 4


def test_settings_of_the_user_are_left_alone() -> None:
    answer, _ = run(is_asked=True, MALLOC_TRIM_THRESHOLD_="131072")
    assert answer == "False"


def test_waiting_threads_sleep_unless_the_user_has_said_how_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    assert let_waiting_threads_sleep()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert not let_waiting_threads_sleep()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
