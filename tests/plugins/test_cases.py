"""The conformance kit is run on every plugin of our own that is a part of a flow."""

from __future__ import annotations

from flowkit.plugin import Policy, Registry
from flowkit.plugin.kinds import KINDS
from flowkit.testing.subjects import ModuleSubject
from tests.plugins.cases import subjects


def test_every_part_of_a_flow_has_a_case() -> None:
    found, _ = Registry.discover(Policy(no_plugins=True)).load_all()
    every = [subject.fresh() for subject in subjects().values() if isinstance(subject, ModuleSubject)]
    checked = {type(part) for module in every for part in module.modules()}
    without = [each.name for each in found if KINDS[each.kind].in_flow and each.load() not in checked]
    assert not without, f"add cases to tests/plugins/cases.py: {', '.join(without)}"
