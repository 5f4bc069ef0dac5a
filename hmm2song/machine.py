"""Cores, memory and cache that this process may use. Imports nothing of the package, so every room may import it."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item, Answer = TypeVar("Item"), TypeVar("Answer")


MALLOPT_MMAP_THRESHOLD, MALLOPT_ARENA_MAX = -3, -8
"""Their numbers in malloc.h."""


def n_cores() -> int:
    """Return how many cores this process may use, which may be fewer than the machine has (``taskset``, containers)."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=8)
def _thread_pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="hmm2song")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_thread_pool.cache_clear)  # a forked process has none of the threads


def in_threads(work: Callable[[Item], Answer], shares: Sequence[Item], n_threads: int) -> list[Answer]:
    """Do ``work`` on shares with threads that all searches of this process have in common; it must not call this."""
    if n_threads == 1 or len(shares) < 2:
        return [work(share) for share in shares]
    return list(_thread_pool(n_threads).map(work, shares))


def cache_folder() -> Path:
    """Return where models and environments that the setup scripts fetch are kept."""
    return Path.home() / ".cache" / "hmm2song"


@lru_cache(maxsize=1)
def import_librosa() -> ModuleType:
    """Return librosa, all of it imported, while no other process does so.

    What numba compiles of it is compiled at the first import and kept in files. Processes that do that at the same
    time, as those that index a folder do after an installation, leave files that do not belong together; every later
    program that reads them is ended.
    """
    from filelock import FileLock

    lock = nullcontext()
    with suppress(OSError):  # nothing can be written: then nothing may be kept either
        cache_folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache_folder() / "librosa.lock")
    with lock:
        import librosa
        import librosa.beat
    return librosa


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process has held so far; None on Windows, which has no such count."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def own_memory_bytes(pid: int | str = "self") -> int | None:
    """Return the memory that a process holds now and that is no mapped file; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), None)


def return_freed_memory() -> None:
    """Let glibc give blocks of 4 MiB and more back as soon as they are freed, and share two heaps among all threads.

    By itself it keeps what up to sixteen heaps needed at their worst, which a server never gets back. It must be called
    before threads are started; elsewhere than on Linux it does nothing.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL(None)
            libc.mallopt(MALLOPT_MMAP_THRESHOLD, 2**22)
            libc.mallopt(MALLOPT_ARENA_MAX, 2)


class _BlasThreads:
    """Lets several threads share the wish that numpy multiplies matrices on one core each.

    Numpy has one number of threads for all. So only the first user sets it to one, and the last one sets it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._lock:
            if self._n_users == 0:
                self._limit = self._controller.limit(limits=1, user_api="blas")
            self._n_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0:
                    self._limit.restore_original_limits()

    @cached_property
    def _controller(self) -> ThreadpoolController:
        import numpy as np  # noqa: F401 - its library has to be there to be found
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()


one_blas_thread = _BlasThreads().one
"""Keeps numpy from sharing little work among cores: on a busy machine its threads wait for each other, which made a
search take three times as much processor time."""
