"""Waiting for what other processes and threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""Far more than anything takes: the machine may be busy."""
POLL_S = 0.05


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until something holds, or fail if it does not in time."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S:.0f} s"
        time.sleep(POLL_S)
