"""Finds the plugin whose code raised an unexpected error, from the functions that the error came through."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress

from flowkit.errors import PluginError
from flowkit.plugin.failure import in_a_line
from flowkit.plugin.policy import FIRST_PARTY, Policy
from flowkit.plugin.registry import Claim, Registry


def blame(error: BaseException) -> str | None:
    """Return the error in one line, with the plugin, its distribution and line of code; None if it is no plugin's."""
    others = dict(_packages(Registry.discover(Policy())))  # the environment's may be what is wrong
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        claim = others.get(_top(str(frame.f_globals.get("__name__"))))
        if claim is not None:
            place = f"{frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}"
            return f"plugin {claim.namespace!r} ({claim.origin}) fails: {in_a_line(error)} ({place})"
    return None


def _packages(registry: Registry) -> Iterator[tuple[str, Claim]]:
    """Yield the packages of plugins that aren't flowkit's own, as far as they have been imported."""
    for namespace in registry.namespaces:
        for claim in registry.claims(namespace):
            if claim.entry and claim.origin.distribution != FIRST_PARTY and claim.entry.module in sys.modules:
                yield _top(claim.entry.module), claim
                with suppress(PluginError):
                    for found in registry.plugins_of(namespace).values():
                        yield _top(found.descriptor.place), claim


def _top(place: str) -> str:
    """Return the topmost package of a module or target."""
    return place.partition(":")[0].partition(".")[0]
