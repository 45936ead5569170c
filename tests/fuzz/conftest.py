from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowkit.plugin import Registry
from tests.thirdparty.place import Place
from tests.thirdparty.strangers import begin_all, importable


@pytest.fixture(scope="package")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Everything installed, and a stranger's package of each kind; discovered once."""
    place = Place(tmp_path_factory.mktemp("strangers"), (tmp_path_factory.mktemp("site"),))
    begin_all(place)
    with importable(place.sites[0]), pytest.MonkeyPatch.context() as patch:
        registry = Registry.discover()
        patch.setattr(Registry, "discover", lambda: registry)
        yield registry
