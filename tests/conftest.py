"""What test modules share: the tiny encoder in place of the bundled one, the running app, training to the last bit.

A module that drives the app may define another ``catalog``.
"""

import os
from collections.abc import Iterator

import pytest
import torch
from encoders import tiny_encoder
from gradio_client import Client
from serving import MiniatureCatalog, make_catalog, running_app

from hmm2song.catalog.hub import MODEL_VARIABLE
from hmm2song.machine import import_librosa


def pytest_configure() -> None:
    """Leave a core to the other processes of ``pytest -n``, here and in the programs that tests start."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        import_librosa()  # the baselines import it by themselves


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the tiny encoder be the default one, here and in the processes started: it is quick, and will do."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_encoder().save(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODEL_VARIABLE, str(folder))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch take one thread: several add up gradients in the order in which they happen to finish."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> MiniatureCatalog:
    """A few songs and a hum of one of them."""
    return make_catalog(tmp_path_factory.mktemp("miniature"))


@pytest.fixture(scope="module")
def url(catalog: MiniatureCatalog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app that serves the catalog."""
    with running_app(catalog, tmp_path_factory.mktemp("app")) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    """A client of that app."""
    return Client(url, verbose=False)
