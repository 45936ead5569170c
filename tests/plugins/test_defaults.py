"""A default stands in a plugin's config and, for flows that are built in Python, in its class: they are the same."""

from __future__ import annotations

import inspect

import pytest

from flowkit.plugin import Found, Policy, Registry

FOUND, _ = Registry.discover(Policy(no_plugins=True)).load_all()


@pytest.mark.parametrize("found", FOUND, ids=str)
def test_the_class_has_the_defaults_of_the_config(found: Found) -> None:
    given = inspect.signature(found.load()).parameters
    for name, field in found.descriptor.config.model_fields.items():
        if name in given and given[name].default is not inspect.Parameter.empty:
            assert given[name].default == field.get_default(call_default_factory=True), name
