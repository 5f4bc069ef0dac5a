"""Cores, memory and cache that this process may use. Imports nothing of the package, so every room may import it."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def n_cores() -> int:
    """Return how many cores this process may use, which may be fewer than the machine has (``taskset``, containers)."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """Return where models and environments that the setup scripts fetch are kept."""
    return Path.home() / ".cache" / "hmm2song"


def peak_memory_bytes() -> int | None:
    """Return the most memory that this process has held so far; None on Windows, which has no such count."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
