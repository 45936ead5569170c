"""Whatever a stranger's plugin does, flowkit says whose it is, in one line, and works on without it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from flowkit.cli.main import app
from flowkit.errors import InstallationWarning, PluginError, SpecError
from flowkit.plugin import Policy, Registry
from flowkit.plugin.failure import guarded
from flowkit.plugin.policy import FIRST_PARTY
from flowkit.plugin.registry import UnknownPlugin
from flowkit.spec import read_spec
from flowkit.spec.schema import json_schema
from tests.plugin.sites import PLUGIN, install
from tests.thirdparty.place import Place

SOURCE = {"flowkit": 1, "event": {"shape": [2]}}
LISTED = '[Descriptor("shift", ShiftConfig, "nowhere:Shift")]'
HOOK = "def flowkit_register_bijectors():\n    return "


def returning(code: str) -> str:
    """A plugin whose hook returns this instead of a list of one descriptor."""
    return PLUGIN.replace(LISTED, code)


def descriptor(**fields: object) -> str:
    """A plugin whose descriptor has these fields."""
    said = {"name": '"shift"', "config": "ShiftConfig", "target": '"nowhere:Shift"', **fields}
    return returning(f"[Descriptor({', '.join(f'{name}={value}' for name, value in said.items())})]")


BROKEN = {
    "raises": ("x = 1\nraise RuntimeError('two\\nlines')", "RuntimeError: two lines (", "flowkit_bad.py:2)"),
    "talks": ("raise RuntimeError(10_000 * 'talk and ')", "RuntimeError: talk and talk", " … (", "flowkit_bad.py:1)"),
    "leaves": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "cancels": ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
    "skips": ("import pytest; pytest.skip('not here', allow_module_level=True)", "Skipped: not here"),
    "unspeakable": ("class Odd(Exception):\n    __str__ = None\nraise Odd", "Odd ("),
    "dependency": ("import a_module_that_is_nowhere", "ModuleNotFoundError", "a_module_that_is_nowhere", "bad.py:1)"),
    "syntax": ("def f(:", "SyntaxError", "flowkit_bad.py, line 1"),
    "config": (PLUGIN.replace("BijectorConfig):", "BijectorConfig):\n    a: int = 'x' + 1"), "TypeError"),
    "no hook": ("", "has no hook"),
    "unmarked": (PLUGIN.replace("@hookimpl\n", ""), "flowkit_register_bijectors is not marked", "@hookimpl"),
    "misspelt": (PLUGIN.replace("_bijectors", "_bijector"), "not a hook", "did you mean flowkit_register_bijectors?"),
    "arguments": (PLUGIN.replace("bijectors()", "bijectors(config)"), "PluginValidationError", "config"),
    "wrapper": (PLUGIN.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("return", "yield"), "wrap no other"),
    "hook raises": (returning("[][0]"), "flowkit_register_bijectors fails: IndexError", "flowkit_bad.py:10)"),
    "hook leaves": (returning("exit(1)"), "SystemExit"),
    "None": (returning("None"), "must return a list", "not None"),
    "generator": (PLUGIN.replace("return [", "yield ["), "must return a list", "not <generator"),
    "dict": (returning("{}"), "must return a list", "not {}"),
    "text": (returning("'shift'"), "must return a list", "not 'shift'"),
    "one": (returning(LISTED[1:-1]), "must return a list", "not Descriptor(name='shift'"),
    "class": (returning("[ShiftConfig]"), "must return a list", "not [<class 'flowkit_bad.ShiftConfig'>]"),
    "twice": (returning(f"2 * {LISTED}"), "'shift' is registered twice"),
    "name": (descriptor(name='"Shift"'), "the name 'Shift' must be lower case"),
    "nameless": (descriptor(name="None"), "the name None must be lower case"),
    "kind": (PLUGIN.replace("bijectors", "splits"), "the config of split shift must derive from", "SplitConfig"),
    "no config": (descriptor(config="None"), "must derive from"),
    "no target": (descriptor(target='"nowhere.Shift"'), 'must read "package.module:Class"'),
    "likelihood": (descriptor(likelihood='"roughly"'), "exact, lower_bound, estimate, not 'roughly'"),
    "future": (descriptor(api=99), "was made for plugin API 99", "update flowkit"),
    "past": (descriptor(api=0), "was made for plugin API 0", "update the plugin"),
    "no api": (descriptor(api='"1"'), "was made for plugin API '1'", "update the plugin"),
    "unknown capability": (descriptor(colour="1"), "unexpected keyword argument 'colour'"),
    "reserved": (PLUGIN.replace("BijectorConfig):", "BijectorConfig):\n    repeat: int = 1"), "field 'repeat'"),
    "hiding": (PLUGIN.replace("BijectorConfig):", "BijectorConfig):\n    parameters: int = 1"), "field 'parameters'"),
    **{
        f"default {field}": (
            "import math\nfrom pydantic import Field\n"
            + PLUGIN.replace("BijectorConfig):", f"BijectorConfig):\n    a: {field}"),
            f"the default of shift.a is {shown}",
            "no spec can say",
        )
        for field, shown in {
            "float = math.nan": "nan",
            "float = -math.inf": "-inf",
            "tuple[float, float] = (0, math.inf)": "(0, inf)",
            "dict[str, list[float]] = {'b': [math.nan]}": "{'b': [nan]}",
            "float = Field(default_factory=lambda: math.nan)": "nan",
        }.items()
    },
    "undefined": (PLUGIN.replace("BijectorConfig):", "BijectorConfig):\n    a: 'Nowhere'"), "type is not defined"),
}

BROKEN |= {
    name: (
        f"from pydantic import Field, computed_field\n{PLUGIN}".replace(
            "BijectorConfig):", f"BijectorConfig):\n    {field}"
        ),
        *words,
    )
    for name, (field, *words) in {
        "alias": ("a_: int = Field(1, alias='a')", "ShiftConfig.a_: ", "by its name"),
        "second alias": ("a_: int = Field(1, validation_alias='a')", "ShiftConfig.a_: ", "by its name"),
        "excluded": ("a: int = Field(1, exclude=True)", "ShiftConfig.a: ", "by its name"),
        "computed": (
            "@computed_field\n    def a(self) -> int:\n        return 1",
            "ShiftConfig.a: ",
            "make it a property",
        ),
    }.items()
}
"""Fields that a run would be saved without, or under another name: it couldn't be loaded."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named(name: str, site: Path) -> None:
    code, *words = BROKEN[name]
    install(site, "bad", code=code)
    registry = Registry.discover()
    with pytest.raises(PluginError) as caught:
        registry.look_up("bijector", "bad/shift")
    message = str(caught.value)
    assert message.startswith("plugin 'bad' (flowkit-bad 1.2, flowkit_bad): ")
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 1000
    found, broken = registry.load_all()
    assert "glow/actnorm" in {each.name for each in found} and list(broken) == ["bad"]


def test_the_right_one_is_right(site: Path) -> None:
    install(site, "bad", code=PLUGIN)
    assert str(Registry.discover().look_up("bijector", "bad/shift")) == "bad/shift (flowkit-bad 1.2)"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("bad = nowhere", "ModuleNotFoundError"),
        ("bad = flowkit bad!", "must name a module"),
        ("bad = flowkit:nothing", "AttributeError"),
        ("bad = flowkit:__all__", "must name a module"),
        ("bad = flowkit_bad:flowkit_register_bijectors", "must name a module"),
        ("bad = flowkit", "has no hook"),
        ("bad = flowkit_bad\nbad = flowkit_bad", "'bad' is twice in the entry points of flowkit-bad 1.2: keep one"),
        ("Bad = flowkit", "must be lower case"),
    ],
)
def test_a_broken_entry_point(entry: str, words: str, site: Path) -> None:
    install(site, "bad")
    (site / "flowkit_bad-1.2.dist-info" / "entry_points.txt").write_text(f"[flowkit]\n{entry}\n")
    _, broken = Registry.discover().load_all()
    (message,) = map(str, broken.values())
    assert "flowkit-bad 1.2" in message and words in message


@pytest.mark.parametrize("metadata", [None, b"", b"Name: \xff\xfe\n"])
def test_damaged_metadata(metadata: bytes | None, site: Path) -> None:
    install(site, "bad", code="raise OSError")
    path = site / "flowkit_bad-1.2.dist-info" / "METADATA"
    path.unlink() if metadata is None else path.write_bytes(metadata)
    with pytest.raises(PluginError, match=r"plugin .bad. .a distribution without a name unknown, flowkit_bad"):
        Registry.discover().plugins_of("bad")


@pytest.mark.parametrize("text", [b"[flowkit]\nbad\n", b"[flowkit]\nbad = \xff\n", b"[other]\nx\n[flowkit]\nbad = a\n"])
def test_damaged_entry_points(text: bytes, site: Path) -> None:
    install(site, "bad")
    install(site, "good")
    (site / "flowkit_bad-1.2.dist-info" / "entry_points.txt").write_bytes(text)
    registry = Registry.discover()
    assert registry.look_up("bijector", "good/shift").version == "1.2"
    assert registry.look_up("bijector", "glow/actnorm").distribution == "flowkit-nf"
    (message,) = map(str, registry.load_all()[1].values())
    assert message.startswith("the entry points of flowkit-bad 1.2 can't be read (")
    with pytest.raises(UnknownPlugin, match=r"'bad' is installed .*; the entry points of flowkit-bad"):
        registry.look_up("bijector", "bad/shift")
    with pytest.raises(PluginError, match=r"flowkit-bad 1\.2"):
        Registry.discover(Policy(strict=True))
    Registry.discover(Policy(strict=True, allow=frozenset({"good"})))


def test_a_failed_import_is_not_tried_again(site: Path) -> None:
    install(site, "bad", code="import pathlib\npathlib.Path(__file__ + '.log').open('x').close()\nraise RuntimeError")
    registry = Registry.discover()
    for _ in range(3):
        with pytest.raises(PluginError, match="RuntimeError"):  # a second import would raise FileExistsError
            registry.look_up("bijector", "bad/shift")


def test_ctrl_c_is_not_the_plugins_fault(site: Path) -> None:
    install(site, "bad", code="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.discover().plugins_of("bad")


def test_what_a_plugin_prints_does_not_mix_with_the_output(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "loud", code="print('hello')\n" + PLUGIN)
    Registry.discover().plugins_of("loud")
    assert capsys.readouterr() == ("", "hello\n")


def test_stdout_is_restored_whatever_the_order() -> None:
    """Of two threads, the one that was in first may be out first."""
    before, first, second = sys.stdout, guarded("one"), guarded("two")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.stdout is sys.stderr
    second.__exit__(None, None, None)
    assert sys.stdout is before


def test_nor_does_what_its_target_prints(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from flowkit.flow import Flow

    install(site, "loud", code=PLUGIN.replace("nowhere:", "flowkit_target:"))
    lines = "print('imported')", "class Shift:", "    def __init__(self, event_shape):", "        print('built')"
    (site / "flowkit_target.py").write_text("\n".join(lines))
    with pytest.raises(PluginError, match="must derive from"):
        Flow.from_spec(spec("loud/shift"))
    out, err = capsys.readouterr()
    assert out == "" and set(err.split()) == {"imported", "built"}


@pytest.mark.parametrize(
    ("config", "target", "words"),
    [
        (
            "BijectorConfig):\n    @model_validator(mode='after')\n    def leave(self): exit(7)",
            "",
            "fails to read its fields: SystemExit: 7",
        ),
        ("BijectorConfig):", "class Shift:\n    def __init__(self, event_shape): exit(7)", "built: SystemExit: 7"),
    ],
)
def test_a_plugin_does_not_end_flowkit(config: str, target: str, words: str, site: Path) -> None:
    from flowkit.flow import Flow

    code = PLUGIN.replace("BijectorConfig):", config).replace("nowhere:", "flowkit_target:")
    install(site, "bad", code="from pydantic import model_validator\n" + code)
    (site / "flowkit_target.py").write_text(target)
    with pytest.raises((PluginError, SpecError)) as caught:
        Flow.from_spec(spec("bad/shift"))
    assert "plugin bad/shift (flowkit-bad 1.2)" in str(caught.value) and words in str(caught.value)


def spec(*names: str) -> str:
    return f"flowkit: 1\nevent: {{shape: [2]}}\nflow: [{', '.join(f'{{use: {name}}}' for name in names)}]\n"


def test_two_distributions_of_one_namespace(site: Path) -> None:
    install(site, "twin", module="flowkit_one", distribution="one")
    install(site, "twin", module="flowkit_two", distribution="two", version="0.3")
    read_spec(spec("glow/actnorm"))
    with pytest.raises(SpecError, match=r"'twin' is claimed by (one 1.2 and two 0.3|two 0.3 and one 1.2)") as caught:
        read_spec(spec("glow/actnorm", "twin/shift"))
    assert caught.value.problems[0].path[:2] == ("flow", 1)
    assert not {"flowkit_one", "flowkit_two"} & set(sys.modules)
    assert {claim.state for claim in Registry.discover().claims("twin")} == {
        "collides with one 1.2",
        "collides with two 0.3",
    }


def test_two_distributions_of_one_namespace_and_one_module(site: Path) -> None:
    install(site, "twin", module="flowkit_one", distribution="one")
    install(site, "twin", module="flowkit_one", distribution="two")
    with pytest.raises(PluginError, match="is claimed by"):
        Registry.discover().plugins_of("twin")


def test_targets_are_named_too(site: Path) -> None:
    from flowkit.flow import Flow

    hidden = {
        "nowhere:Shift": "its target nowhere:Shift can't be imported: ModuleNotFoundError",
        "flowkit_good:Shift": "its target flowkit_good:Shift can't be imported: AttributeError",
        "flowkit_leaves:Shift": "its target flowkit_leaves:Shift can't be imported: SystemExit: 1",
        "builtins:dict": "can't be built: TypeError",
        "flowkit_good:ShiftConfig": "can't be built: TypeError",
        "builtins:tuple": "its target must derive from flowkit.bijectors.Bijector",
    }
    (site / "flowkit_leaves.py").write_text("raise SystemExit(1)")
    listed = [f'Descriptor("shift{n}", ShiftConfig, "{target}")' for n, target in enumerate(hidden)]
    install(site, "good", code=returning(f"[{', '.join(listed)}]"))
    for n, words in enumerate(hidden.values()):
        with pytest.raises(PluginError) as caught:
            Flow.from_spec(spec(f"good/shift{n}"))
        assert f"plugin good/shift{n} (flowkit-good 1.2)" in str(caught.value) and words in str(caught.value)


def test_a_config_without_a_json_schema_leaves_the_schema_of_the_others(site: Path) -> None:
    code = PLUGIN.replace("BijectorConfig):", "BijectorConfig):\n    f: Callable[[], int] = int")
    install(site, "odd", code=f"from collections.abc import Callable\n{code}")
    assert_any_fields_are_taken()


def assert_any_fields_are_taken() -> None:
    with pytest.warns(InstallationWarning, match="takes any fields of plugin odd/shift"):
        schema = json_schema(Registry.discover())
    json.dumps(schema, allow_nan=False)
    assert "glow.actnorm" in schema["definitions"]
    validator = jsonschema.Draft7Validator(schema)
    assert validator.is_valid(SOURCE | {"flow": [{"use": "odd/shift", "f": 1, "inverse": True}]})
    assert not validator.is_valid(SOURCE | {"flow": [{"use": "odd/shift", "inverse": 1}]})


def test_a_field_may_be_named_like_a_keyword_of_schemas(site: Path) -> None:
    install(site, "odd", code=PLUGIN.replace("BijectorConfig):", "BijectorConfig):\n    properties: int = 1"))
    validator = jsonschema.Draft7Validator(json_schema(Registry.discover()))
    assert validator.is_valid(SOURCE | {"flow": [{"use": "odd/shift", "properties": 2}]})
    assert not validator.is_valid(SOURCE | {"flow": [{"use": "odd/shift", "properties": "x"}]})


def test_a_bound_of_infinity_leaves_the_schema_json(site: Path) -> None:
    fields = "a: float = Field(0, lt=math.inf, gt=-1)\n    b: float = Field(0, examples=[math.nan, 1])"
    code = PLUGIN.replace("BijectorConfig):", f"BijectorConfig):\n    {fields}")
    install(site, "odd", code=f"import math\nfrom pydantic import Field\n{code}")
    properties = json_schema(Registry.discover())["definitions"]["odd.shift"]["properties"]
    json.dumps(properties, allow_nan=False)
    assert properties["a"]["exclusiveMinimum"] == -1 and "exclusiveMaximum" not in properties["a"]
    assert properties["b"]["examples"] == [1]


@pytest.mark.parametrize("extra", ["{'x': object()}", "lambda schema: 1 / 0"], ids=["object", "raises"])
def test_a_schema_that_is_no_json_leaves_that_of_the_others(extra: str, site: Path) -> None:
    code = PLUGIN.replace("BijectorConfig):", f"BijectorConfig):\n    a: int = Field(0, json_schema_extra={extra})")
    install(site, "odd", code=f"from pydantic import Field\n{code}")
    assert_any_fields_are_taken()


LONG = "100 * (1000 * 'x' + chr(10))"
FAILING = {
    "a validator": f"""
    @field_validator("a")
    @classmethod
    def _check(cls, a):
        raise ValueError({LONG})
""",
    "a validator that is broken": f"""
    @field_validator("a")
    @classmethod
    def _check(cls, a):
        raise KeyError({LONG})
""",
    "a shape rule": f"""
    def output_shape(self, event):
        raise ShapeError({LONG})
""",
    "a shape rule that is broken": f"""
    def output_shape(self, event):
        raise KeyError({LONG})
""",
}
"""Parts of a config that fail with a message of 100 KB."""


@pytest.mark.parametrize("part", FAILING)
def test_a_long_message_of_a_config_is_shortened(part: str, site: Path) -> None:
    code = PLUGIN.replace("BijectorConfig):", f"BijectorConfig):\n    a: int = 0\n{FAILING[part]}")
    install(site, "bad", code=f"from pydantic import field_validator\nfrom flowkit.plugin import ShapeError\n{code}")
    with pytest.raises(SpecError) as caught:
        read_spec("flowkit: 1\nevent: {shape: [2]}\nflow: [{use: bad/shift, a: 1}]\n")
    assert "xxx" in str(caught.value) and len(str(caught.value)) < 2000


@pytest.mark.parametrize("error", ["ValueError", "MemoryError", "flowkit.errors.DataError", "ShapeError"])
@pytest.mark.parametrize("place", ["__init__", "forward_and_log_det"])
def test_a_long_message_of_a_target_is_shortened(
    place: str, error: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = f"raise {error}({LONG})"
    install(site, "bad", code=PLUGIN.replace("nowhere:", "flowkit_target:"))
    lines = [
        "import flowkit.errors, torch",
        "from flowkit.errors import ShapeError",
        "from flowkit.bijectors import Bijector",
        "class Shift(Bijector):",
        "    def __init__(self, event_shape):",
        "        super().__init__(event_shape)",
        "        self.b = torch.nn.Parameter(torch.zeros(event_shape))",
        f"        {fails if place == '__init__' else 'pass'}",
        "    def forward_and_log_det(self, x, context=None):",
        f"        {fails if place != '__init__' else 'pass'}",
        "    inverse_and_log_det = forward_and_log_det",
    ]
    (site / "flowkit_target.py").write_text("\n".join(lines))
    (tmp_path / "spec.yaml").write_text(spec("bad/shift") + "data: {use: data/toy, name: moons, n: 64}\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["train", "spec.yaml", "-o", "run"])
    assert result.exit_code == 2
    assert "xxx" in result.stderr and len(result.stderr) < 5000


LOUD = """\
import atexit, ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
def shout(when):
    print("print", when)
    os.write(1, f"write {when}\\n".encode())
    libc.printf(f"printf {when}\\n".encode())
    subprocess.run(["echo", f"child {when}"])
shout("on import")
atexit.register(os.write, 1, b"at exit")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="printf of another C library")
def test_what_a_plugin_writes_to_file_descriptor_1_goes_to_stderr(site: Path) -> None:
    install(site, "loud", code=LOUD + PLUGIN)
    result = Place(site, (site,)).run("flowkit", "schema")
    assert "loud.shift" in json.loads(result.stdout)["definitions"]
    assert {"print on import", "write on import", "child on import"} <= set(result.stderr.splitlines())
    assert "printf on import" in result.stderr and "at exit" in result.stderr


@pytest.mark.parametrize("entry_points", [None, "[flowkit]\nevil = flowkit_evil\nglow = flowkit_evil\n"])
def test_a_distribution_of_flowkits_name_does_not_hide_its_plugins(entry_points: str | None, site: Path) -> None:
    info = site / f"{FIRST_PARTY}-9.9.dist-info".replace("flowkit-nf", "Flowkit_NF")
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {FIRST_PARTY}\nVersion: 9.9\n")
    if entry_points:
        (info / "entry_points.txt").write_text(entry_points)
    registry = Registry.discover(Policy(no_plugins=True))
    assert registry.namespaces == [
        "autoregressive",
        "base",
        "data",
        "encoder",
        "glow",
        "map",
        "mixture",
        "residual",
        "spline",
    ]
    assert registry.look_up("bijector", "glow/actnorm").version != "9.9"
    (message,) = map(str, registry.load_all()[1].values())
    assert f"another distribution in {site} calls itself {FIRST_PARTY}" in message and "uninstall it" in message
    with pytest.raises(PluginError, match="calls itself"):
        Registry.discover(Policy(strict=True))


def test_a_directory_that_is_twice_on_the_path_brings_its_plugins_once(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "mine")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("sys.path", [*sys.path, *sys.path])
    assert [str(each.origin) for each in Registry.discover().claims("mine")] == ["flowkit-mine 1.2"]
    assert len(Registry.discover().claims("glow")) == 1
