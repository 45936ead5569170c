"""Which names a peer doesn't have.

Runs in an environment that has the peers, and not flowkit: ``python -m tests.peers.names PEER NAME…`` prints, as JSON,
the names that no module of this package has.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import warnings


def main(peer: str, *names: str) -> None:
    warnings.simplefilter("ignore")
    package = importlib.import_module(peer)
    found = set(vars(package))
    for module in pkgutil.walk_packages(package.__path__, f"{peer}."):
        if not module.name.endswith("test"):  # conftest and …_test need pytest, which isn't there
            found |= set(vars(importlib.import_module(module.name)))
    print(json.dumps([name for name in names if name not in found]))


if __name__ == "__main__":
    main(*sys.argv[1:])
