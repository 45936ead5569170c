"""The table of kinds agrees with what is said of kinds elsewhere: in the contracts, the kit and the templates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowkit import plugin
from flowkit.cli.plugins.new import KINDS as TEMPLATES
from flowkit.errors import PluginError
from flowkit.plugin import PluginConfig, Registry, Use
from flowkit.plugin.kinds import KINDS, Kind
from flowkit.spec.schema import json_schema
from flowkit.testing import CHECKS
from flowkit.testing.installed import PARTS
from tests.plugin.sites import PLUGIN, install

CONTRACTS = Path(__file__).parents[2] / "docs" / "plugin-contracts.md"


def row(kind: Kind) -> list[str]:
    """The cells of a kind in the table of the contracts."""
    (line,) = re.findall(rf"^\| {kind.name}, .*", CONTRACTS.read_text("utf-8"), re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split(" | ")]


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_contracts_say_the_same(kind: Kind) -> None:
    hook, config, _, target, call = row(kind)
    short = kind.hook.removeprefix("flowkit_register_")
    assert hook in (f"{kind.name}, `{kind.hook}`", f"{kind.name}, `…_{short}`")
    assert config == f"`{kind.config.__name__}`"
    assert kind.target_base().__name__ in target
    assert f"Built as `{call}`" in (kind.config.__doc__ or "").replace("\n    ", " ")


def test_every_kind_has_checks_and_a_template() -> None:
    assert {*CHECKS} == {*KINDS, "plugin"}
    assert {*PARTS} == {*KINDS} <= {*TEMPLATES}


def test_one_manager_has_the_modules_of_all_that_can_be_used(site: Path) -> None:
    install(site, "bad", code=PLUGIN.replace("return [", "return 2 * ["))
    install(site, "good")
    install(site, "same", module="flowkit_good", code=PLUGIN)
    registry = Registry.discover()
    manager = registry._manager
    assert not manager.get_plugins()
    registry.look_up("bijector", "glow/actnorm")
    assert {each.__name__ for each in manager.get_plugins()} == {"flowkit_glow.plugin"}
    assert {"bad"} == {*registry.load_all()[1]}
    names = {each.__name__ for each in manager.get_plugins()}
    assert {"flowkit_glow.plugin", "flowkit_base.plugin", "flowkit_good"} <= names and "flowkit_bad" not in names
    assert {*registry.plugins_of("good")} == {"good/shift"} and {*registry.plugins_of("same")} == {"same/shift"}


def test_a_kind_that_is_added_to_the_table(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hook is called, its plugins are looked up, listed, registered, referred to, and in the schema."""

    class AugmenterConfig(PluginConfig):
        """Changes events while a flow is trained."""

    monkeypatch.setattr(plugin, "AugmenterConfig", AugmenterConfig, raising=False)
    row = Kind(AugmenterConfig, "builtins:list", ("augmenter",), "augment/shift", in_flow=False)
    monkeypatch.setitem(KINDS, "augmenter", row)
    code = PLUGIN.replace("Bijector", "Augmenter").replace("bijectors", "augmenters")
    install(site, "augment", code=code.replace("nowhere:Shift", "builtins:list"))
    install(site, "bad", code=code.replace("AugmenterConfig", "SplitConfig"))
    registry = Registry.discover()
    found = registry.look_up("augmenter", "augment/shift")
    assert Use(found, found.descriptor.config()).build() == []
    with pytest.raises(PluginError, match=r"augmenter shift must derive from flowkit\.plugin\.AugmenterConfig"):
        registry.look_up("augmenter", "bad/shift")
    assert {"augmenter", "augment.shift"} <= json_schema(registry)["definitions"].keys()
    plugin.register("mine/shift", AugmenterConfig, list)
    assert Registry.discover().look_up("augmenter", "mine/shift").kind == "augmenter"
