"""Where a function over many files runs: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hmm2song.errors import Hmm2SongError
from hmm2song.indexing import workers

Runner = Callable[..., list[str | Hmm2SongError]]
"""What takes the parameters of :func:`hmm2song.indexing.workers.map_files` and returns the same."""


def runner_of(spec: str) -> Runner:
    """Return what runs a function over many files, or raise Hmm2SongError if it does not exist or Ray is missing.

    ``"local"``: processes on this machine; ``"ray"``: a Ray cluster made of this machine, or the one that the
    environment variable ``RAY_ADDRESS`` names; ``"ray:ADDRESS"``: that cluster (``auto``, ``ray://host:10001``).
    """
    kind, _, address = spec.partition(":")
    if spec == "local":
        return workers.map_files
    if kind != "ray":
        raise Hmm2SongError(f"there is no runner {spec!r}; give 'local', 'ray' or 'ray:ADDRESS'")
    try:
        from hmm2song.indexing import ray_runner  # imported here: it takes seconds, and few have it
    except ImportError as error:
        raise Hmm2SongError(
            f"Ray is not installed ({error}); pip install -r requirements-dataset.txt, or leave --runner ray out"
        ) from error
    return partial(ray_runner.map_files, address=address or None)
