"""Prints the lowest versions that pyproject.toml allows, as constraints for pip; torch is left out (`make lowest`)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
EXTRAS = ("train", "serve", "sweep")
LOWEST = re.compile(r"([\w.-]+)>=([\d.]+)")


def constraints() -> list[str]:
    """Return a line `name==version` for each dependency of flowkit and of its extras, but for torch.

    Raises:
        ValueError: a dependency has no lowest version.
    """
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(each for extra in EXTRAS for each in extras.get(extra, ()))]
    others = [each for each in wanted if not each.startswith(("torch>=", "flowkit-nf["))]
    return ["==".join(_lowest(each)) for each in others]


def _lowest(requirement: str) -> tuple[str, ...]:
    match = LOWEST.match(requirement)
    if match is None:
        raise ValueError(f"{requirement} has no lowest version")
    return match.groups()


if __name__ == "__main__":
    print("\n".join(constraints()))
