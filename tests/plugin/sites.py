"""Distributions that bring plugins, as pip would have installed them: written, not installed."""

from __future__ import annotations

from pathlib import Path

PLUGIN = '''\
from flowkit.plugin import BijectorConfig, Descriptor, hookimpl


class ShiftConfig(BijectorConfig):
    """y = x + b."""


@hookimpl
def flowkit_register_bijectors():
    return [Descriptor("shift", ShiftConfig, "nowhere:Shift")]
'''
"""A plugin module that is right, as far as it goes: its target doesn't exist."""

METADATA = """\
Metadata-Version: 2.1
Name: {name}
Version: {version}
Summary: {summary}
Description-Content-Type: text/markdown

{description}
"""

DESCRIPTION = "A paragraph of a README, as long as most are.\n\n" * 100


def install(
    site: Path,
    namespace: str,
    module: str | None = None,
    code: str = PLUGIN,
    distribution: str | None = None,
    version: str = "1.2",
) -> None:
    """Put a distribution into ``site`` that brings ``code`` as the plugins of ``namespace``."""
    module, distribution = module or f"flowkit_{namespace}", distribution or f"flowkit-{namespace}"
    (site / f"{module}.py").write_text(code, "utf-8")
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    metadata = METADATA.format(name=distribution, version=version, summary=f"The {namespace}.", description=DESCRIPTION)
    (info / "METADATA").write_text(metadata, "utf-8")
    (info / "entry_points.txt").write_text(f"[flowkit]\n{namespace} = {module}\n", "utf-8")
