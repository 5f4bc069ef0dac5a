"""The running app, shared by the modules that drive it; a module may define another ``catalog``."""

from collections.abc import Iterator

import pytest
from gradio_client import Client
from serving import MiniatureCatalog, make_catalog, running_app


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
