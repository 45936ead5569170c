from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowkit.plugin import Registry

EXAMPLE = Path(__file__).parents[1] / "thirdparty" / "flowkit-example"
METADATA = "Metadata-Version: 2.1\nName: flowkit-example\nVersion: 0.1.0\n"


@pytest.fixture(scope="package")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Everything installed, and a third party's package put on the path as pip would; discovered once."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE / "flowkit_example", site / "flowkit_example")
    info = site / "flowkit_example-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[flowkit]\nexample = flowkit_example.plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        registry = Registry.discover()
        assert "example" in registry.entries
        patch.setattr(Registry, "discover", lambda: registry)
        yield registry
    for name in [name for name in sys.modules if name.split(".")[0] == "flowkit_example"]:
        del sys.modules[name]
