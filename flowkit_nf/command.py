"""Implements the command `flowkit`."""

from __future__ import annotations

import os
import sys

from flowkit_nf import conflicts


def main() -> None:
    """Run the command. If it can't be imported, say which other distribution has overwritten it."""
    # Else pydantic reads the metadata of all packages for plugins of its own, and imports those plugins.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ["MPLBACKEND"] = "agg"  # pictures go to files; a notebook names a backend that may not be installed here
    try:
        from flowkit.cli.main import main as command
    except ImportError:
        overwritten = list(conflicts())
        if not overwritten:
            raise
        print(*overwritten, sep="\n", file=sys.stderr)
        sys.exit(2)
    command()
