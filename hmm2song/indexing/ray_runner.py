"""The same as :func:`hmm2song.indexing.workers.map_files`, on a Ray cluster.

Conventions
-----------
* Function and arguments must be importable and plain (text, numbers, paths, dataclasses of them). Every node needs this
  package, its requirements, the recordings and the work folder under the same paths: a shared file system.
* One call is one task on one core. Ray repeats a task whose node was lost; a file that crashes its process each time
  is left out.
* Nothing is sent to Ray's makers, and no dashboard is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import ray
from ray.exceptions import RayError, WorkerCrashedError

from hmm2song.errors import Hmm2SongError, ScoreError
from hmm2song.indexing.workers import CRASHED, guarded

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
QUIET = {"log_to_driver": False, "logging_level": "error"}
N_REPEATS = 2
"""How often Ray repeats a call whose process or node was lost."""
WAITING_PER_CORE = 4
"""Calls handed to the cluster ahead of time, so that no core waits for the next one."""


def map_files(
    function: Callable[..., str],
    arguments: Sequence[tuple],
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    address: str | None = None,
) -> list[str | Hmm2SongError]:
    """Call ``function(*arguments[i])`` for all ``i``, each in a Ray task, ``workers`` at a time (default: all cores).

    ``address`` is a running cluster (``"auto"``, ``"ray://host:10001"``); by default that of ``RAY_ADDRESS``, or else
    one is started on this machine and ended afterwards. Hmm2SongError for any error of a call that does not concern its
    file alone, and if the cluster cannot be reached or breaks down.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started_here = not ray.is_initialized()
    try:
        if started_here:
            _start(workers, address or os.environ.get("RAY_ADDRESS"))
        return _map(function, arguments, workers, progress)
    except (RayError, ConnectionError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, Hmm2SongError):  # raised by a call; the message has Ray's traceback around it
            raise cause from None
        reason = str(error).strip().splitlines()
        raise Hmm2SongError(
            f"Ray broke off: {reason[-1] if reason else error!r}; the same command goes on where it stopped"
        ) from error
    finally:
        if started_here:
            ray.shutdown()


def _start(n_cores: int | None, address: str | None) -> None:
    """Join a cluster, or start one here; let its processes find this package where it is not installed."""
    known = os.environ.get("PYTHONPATH")
    python_path = os.pathsep.join([str(PACKAGE_PARENT), *filter(None, [known])])
    if address is not None:
        ray.init(address=address, runtime_env={"env_vars": {"PYTHONPATH": python_path}}, **QUIET)
        return
    os.environ["PYTHONPATH"] = python_path  # inherited: processes made for a runtime_env would start a second time
    try:
        ray.init(num_cpus=n_cores, include_dashboard=False, **QUIET)
    finally:
        if known is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = known


def _map(
    function: Callable[..., str],
    arguments: Sequence[tuple],
    workers: int | None,
    progress: Callable[[int], None] | None,
) -> list[str | Hmm2SongError]:
    call = ray.remote(num_cpus=1, max_retries=N_REPEATS)(guarded)
    n_waiting = workers or WAITING_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
    todo = iter(enumerate(arguments))
    waiting: dict[ray.ObjectRef, int] = {}
    results: dict[int, str | Hmm2SongError] = {}
    while len(results) < len(arguments):
        for index, values in islice(todo, n_waiting - len(waiting)):
            waiting[call.remote(function, values)] = index
        (done,), _ = ray.wait(list(waiting))
        try:
            result = ray.get(done)
        except WorkerCrashedError:
            result = ScoreError(CRASHED)
        results[waiting.pop(done)] = result
        if progress is not None:
            progress(len(results))
    return [results[index] for index in range(len(arguments))]
