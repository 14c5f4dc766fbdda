"""Settings of the process that make steps fast: freed memory is kept, and waiting threads sleep.

For programs such as the command line, which own their process; a library has no business changing these.
Whoever has set them in the environment is left alone.
"""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1
_ALLOCATOR_SETTINGS = (
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)
_WAITING_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def keep_freed_memory() -> bool:
    """Ask glibc to keep freed memory; True if it will.

    By default it hands every large block back to the system at once. A training step takes and frees the same
    large tensors over and over, and faulting their pages in again can cost more than half of its time.
    """
    if platform.libc_ver()[0] != "glibc" or _is_set(_ALLOCATOR_SETTINGS):
        return False
    libc = ctypes.CDLL(None)
    done = [libc.mallopt(option, _LARGEST) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)]
    return all(done)


def let_waiting_threads_sleep() -> bool:
    """Have OpenMP threads spin only briefly before they sleep; True if they will.

    Call it before torch is loaded. By default a thread that waits for its peers spins for milliseconds. On a
    machine with other work it spins while the peer it waits for has no core, and a step of a small model can
    take ten times as long.
    """
    if _is_set(_WAITING_SETTINGS):
        return False
    os.environ["GOMP_SPINCOUNT"] = "1000"
    return True


def _is_set(names: tuple[str, ...]) -> bool:
    return any(os.environ.get(name) for name in names)
