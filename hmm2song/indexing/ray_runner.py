"""The same as :func:`hmm2song.indexing.workers.map_files`, on a cluster: Ray Data hands the calls to its nodes.

Conventions
-----------
* Function and arguments must be importable and plain (text, numbers, paths, dataclasses of them). Every node needs this
  package, its requirements, the recordings and the work folder under the same paths: a shared file system.
* One call is one task on one core. Ray repeats a task whose node was lost. A recording that crashes its process every
  time ends the run, while ``hmm2song.indexing.workers.map_files`` leaves it out: give it to that one, or take it away.
* Nothing is sent to Ray's makers, and no dashboard is started.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import ray
from ray.exceptions import RayError

from hmm2song.errors import AudioError, Hmm2SongError

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
QUIET = {"log_to_driver": False, "logging_level": "error"}


def map_files(
    function: Callable[..., str],
    arguments: Sequence[tuple],
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    address: str | None = None,
) -> list[str | Hmm2SongError]:
    """Call ``function(*arguments[i])`` for all ``i``, each in a Ray task.

    Parameters
    ----------
    function, arguments, progress
        As for :func:`hmm2song.indexing.workers.map_files`.
    workers : int, optional
        Calls at the same time; by default, all cores of the cluster.
    address : str, optional
        A running cluster (``"auto"``, ``"ray://host:10001"``); by default, one is started on this machine and ended
        afterwards.

    Returns
    -------
    list
        In the order of ``arguments``: what the call returned, or the AudioError it raised.

    Raises
    ------
    Hmm2SongError
        Any other error of a call, or the cluster cannot be reached or broke down.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started_here = not ray.is_initialized()
    try:
        if started_here:
            _start(workers if address is None else None, address)
        return _map(function, arguments, workers, progress)
    except (RayError, ConnectionError) as error:
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
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False

    def call(row: dict) -> dict:
        """Turn one row, the number of a call, into its result."""
        index = row["id"]
        try:
            return {"index": index, "kind": "result", "text": function(*arguments[index])}
        except AudioError as error:
            return {"index": index, "kind": "unusable", "text": str(error)}
        except Hmm2SongError as error:  # passed on as text: it ends the run, and says why without Ray's traceback
            return {"index": index, "kind": "fatal", "text": str(error)}

    # A block for each call: whatever is done stays done when the run breaks off in the next.
    items = ray.data.from_items([{"id": index} for index in range(len(arguments))], override_num_blocks=len(arguments))
    pool = ray.data.TaskPoolStrategy(workers) if workers else None
    rows = items.map(call, num_cpus=1, compute=pool)
    results: dict[int, str | Hmm2SongError] = {}
    for row in rows.iter_rows():
        if row["kind"] == "fatal":
            raise Hmm2SongError(row["text"])
        results[row["index"]] = AudioError(row["text"]) if row["kind"] == "unusable" else row["text"]
        if progress is not None:
            progress(len(results))
    return [results[index] for index in range(len(arguments))]
