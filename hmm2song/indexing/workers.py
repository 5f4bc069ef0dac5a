"""Run a function over many files in several processes, such that one bad file or a kill does no harm.

* Workers are spawned, not forked: the parent may hold threads of torch or onnxruntime, which a fork would
  break.
* A worker ends by itself when its parent is gone, and leaves Ctrl-C to it.
* A file that takes its worker down (a crash inside a decoder) costs that file only.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection

from hmm2song.errors import AudioError, Hmm2SongError, MelodyError, ScoreError
from hmm2song.machine import n_cores

CRASHED = "reading it crashed the process"
WAITING_PER_WORKER = 4
"""Calls handed out ahead of time: no worker waits, and a million files are not a million calls in memory."""


def map_files(
    function: Callable[..., str],
    arguments: Sequence[tuple],
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[str | Hmm2SongError]:
    """Call ``function(*arguments[i])`` for all ``i``.

    The function is at the top level of its module. ``workers`` processes run it, by default one per core, fewer for few
    calls; with one, everything runs in this process. ``progress`` is called with the number of calls that are done.

    Returns, in the order of the arguments, what each call returned, or the AudioError, MelodyError or ScoreError by
    which it said that the file is unusable. Hmm2SongError if the workers cannot run at all.
    """
    n_workers = min(workers or n_cores(), len(arguments))
    results: dict[int, str | Hmm2SongError] = {}

    def finish(index: int, result: str | Hmm2SongError) -> None:
        results[index] = result
        if progress is not None:
            progress(len(results))

    if n_workers <= 1:
        for index, values in enumerate(arguments):
            finish(index, guarded(function, values))
    todo = list(range(len(arguments))) if n_workers > 1 else []
    while todo:
        _run_pool(function, arguments, todo, n_workers, finish)
        todo = [index for index in todo if index not in results]
        suspects, todo = todo[: 2 * n_workers + 1], todo[2 * n_workers + 1 :]
        for index in suspects:
            _run_pool(function, arguments, [index], 1, finish)
        crashed = [index for index in suspects if index not in results]
        if len(crashed) == len(suspects) > 1:
            raise Hmm2SongError(
                'worker processes end at once; call this under `if __name__ == "__main__":`, free memory, '
                "or use workers=1"
            )
        for index in crashed:
            finish(index, ScoreError(CRASHED))
    return [results[index] for index in range(len(arguments))]


def guarded(function: Callable[..., str], values: tuple) -> str | Hmm2SongError:
    """Return what a call returns, or its error if the file is at fault; any other error ends the run."""
    try:
        return function(*values)
    except (AudioError, MelodyError, ScoreError) as error:
        return error


def _run_pool(
    function: Callable[..., str],
    arguments: Sequence[tuple],
    todo: Sequence[int],
    n_workers: int,
    finish: Callable[[int, str | Hmm2SongError], None],
) -> None:
    """Run the calls ``todo``; return early, with some not finished, when a worker crashes."""
    not_ours = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=start_worker)
    try:
        waiting: dict[Future, int] = {}
        ahead = iter(todo)
        while True:
            for index in islice(ahead, WAITING_PER_WORKER * n_workers - len(waiting)):
                waiting[pool.submit(guarded, function, arguments[index])] = index
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                finish(waiting.pop(future), future.result())
    except BrokenProcessPool:
        return
    except BaseException:  # Ctrl-C, or nothing can be read: separating what is begun could take many minutes more
        for worker in set(multiprocessing.active_children()) - not_ours:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker() -> None:
    """Leave Ctrl-C to the parent of this process, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
