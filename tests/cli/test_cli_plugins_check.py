from __future__ import annotations

import math
import sys
import time
from contextlib import suppress

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import flowkit
from flowkit.bijectors import Bijector, Order
from flowkit.cli.main import app
from flowkit.plugin import (
    BijectorConfig,
    ConditionerConfig,
    DatasetConfig,
    MaskedConditionerConfig,
    PluginConfig,
    Shape,
    ShapeError,
)
from flowkit.testing import CHECKS, SLOW_CHECKS
from flowkit_autoregressive.made import MADE
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.mlp import MLP


class Config(BijectorConfig):
    """Nothing to set."""


class Short(ActNorm):
    """Short by h·w."""

    def forward_and_log_det(self, x, context=None):
        return super().forward_and_log_det(x)[0], self.log_scale.sum().expand(x.shape[0])


class Right(ActNorm):
    """Right."""


class Picky(BijectorConfig):
    """Takes images."""

    def output_shape(self, event: Shape) -> Shape:
        if len(event) != 3:
            raise ShapeError("takes images")
        return event


class Conditional(Bijector):
    """y = x + wᵀ context. It can't do without a context, whose shape it is told."""

    def __init__(self, event_shape: Shape, context_shape: Shape | None = None) -> None:
        super().__init__(event_shape)
        self.weight = torch.nn.Parameter(torch.ones(context_shape or ()))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert context is not None
        return x + (self.weight * context).sum(1, keepdim=True), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert context is not None
        return y - (self.weight * context).sum(1, keepdim=True), y.new_zeros(y.shape[0])


class Deaf(ActNorm):
    """Is told the shape of a context, and reads none."""

    def __init__(self, event_shape: Shape, context_shape: Shape | None = None) -> None:
        super().__init__(event_shape)


class ConditionalConfig(BijectorConfig):
    """Requires a context."""

    reads_context = "required"


class Bare:
    """Not a layer."""

    def __init__(self, event_shape):
        pass


def run(*arguments: str, code: int = 0) -> list[str]:
    result = CliRunner().invoke(app, ["plugins", "check", *arguments])
    assert result.exit_code == code and isinstance(result.exception, SystemExit | None), result.exception
    return result.stdout.splitlines() + result.stderr.splitlines()


def line_of(lines: list[str], check: str) -> str:
    """The one line that a check has."""
    (line,) = [line for line in lines if line.startswith(f"    {check} ")]
    return line


@pytest.fixture
def few_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer has three checks: a slow test, of what is right, runs all."""
    monkeypatch.setitem(SLOW_CHECKS, "bijector", {})
    monkeypatch.setitem(CHECKS, "bijector", {id_: CHECKS["bijector"][id_] for id_ in ("shapes", "log_det", "context")})


@pytest.mark.slow
def test_what_is_right() -> None:
    *lines, last = run("glow/permute", "--event", "5")
    whole, layer = len(CHECKS["plugin"]), len(CHECKS["bijector"]) + len(SLOW_CHECKS["bijector"])
    assert last == f"glow/permute passes all {whole + layer - 1} checks; 1 doesn't apply"  # context
    titles = [f"glow/permute in a spec, [5]: {whole} checks", f"glow/permute, [5]: {layer} checks"]
    assert [line for line in lines if not line.startswith(" ")] == titles


def test_every_check_is_listed_in_a_pipe() -> None:
    lines = run("data/digits")
    skipped = [["declared", "skipped"], ["written_back", "skipped"]]
    whole, dataset = [["builds", "passed"], *skipped, ["light", "passed"]], CHECKS["dataset"]
    listed = [line.split()[:2] for line in lines if line.startswith("    ")]
    assert listed == whole + [[check, "passed"] for check in dataset]


@pytest.mark.usefixtures("few_checks")
def test_what_is_wrong() -> None:
    flowkit.register("mine/short", Config, Short)
    lines = run("mine/short", "--event", "[4, 3, 2]", code=1)
    line = line_of(lines, "log_det")
    assert "failed" in line and "short by the factor h·w = 6: did you forget the spatial positions?" in line
    assert lines[-1].startswith("mine/short: ") and lines[-1].endswith(" checks failed; 2 don't apply")


@pytest.mark.parametrize("seed", ["-1", "2147483648"])
def test_a_seed_out_of_range_is_the_callers_mistake(seed: str) -> None:
    assert "Invalid value for '--seed'" in " ".join(run("map/phase", "--seed", seed, code=2))


def test_what_cannot_be_built_is_checked_no_further() -> None:
    flowkit.register("mine/bare", Config, Bare)
    lines = run("mine/bare", "--event", "4", code=1)
    assert [line.split()[0] for line in lines if line.startswith("    ")] == ["builds"]
    assert lines[-1] == "mine/bare: 1 of 1 checks failed"


def test_what_is_no_dataset_is_checked_no_further() -> None:
    flowkit.register("mine/dict", DatasetConfig, dict)
    lines = run("mine/dict", code=1)
    assert "must derive from flowkit.plugin.Dataset" in "".join(lines)
    assert lines[-1] == "mine/dict: 1 of 1 checks failed"


@pytest.mark.usefixtures("few_checks")
def test_all_of_a_namespace() -> None:
    flowkit.register("mine/a", Config, Right)
    flowkit.register("mine/bare", Config, Bare)
    lines = run("mine", "--event", "4", code=1)
    assert any(line.startswith("mine/a passes all ") for line in lines) and "mine/bare: 1 of 1 checks failed" in lines


@pytest.mark.usefixtures("few_checks")
def test_what_cannot_be_checked_does_not_keep_the_others_from_it() -> None:
    flowkit.register("mine/a", Picky, Short)
    flowkit.register("mine/b", Config, Right)
    lines = run("mine", "--event", "4", code=2)
    assert any(line.startswith("mine/b passes all ") for line in lines)
    assert any(line.startswith("mine/a can't be checked: ") and "takes images" in line for line in lines)


@pytest.mark.usefixtures("few_checks")
@pytest.mark.parametrize(("target", "code"), [(Conditional, 0), (Deaf, 1)])
def test_with_a_context(target: type, code: int) -> None:
    flowkit.register("mine/conditional", ConditionalConfig, target)
    lines = run("mine/conditional", "--event", "4", "--context", "2", code=code)
    (line,) = [line for line in lines if line.startswith("    context ")]
    assert ("passed" if target is Conditional else "forward_and_log_det ignores its context") in line
    assert lines[0].startswith("mine/conditional in a spec, [4], conditional: ")


@pytest.mark.usefixtures("few_checks")
def test_what_requires_a_context_is_given_one() -> None:
    flowkit.register("mine/conditional", ConditionalConfig, Conditional)
    lines = run("mine/conditional", "--event", "4")
    assert lines[0].startswith("mine/conditional in a spec, [4], conditional: ")


@pytest.mark.usefixtures("few_checks")
def test_a_context_for_what_declares_to_read_none() -> None:
    flowkit.register("mine/undeclared", Config, Conditional)
    lines = run("mine/undeclared", "--event", "4", "--context", "2", code=2)
    assert "mine/undeclared (this process) reads no context, as its config declares" in lines[-1]


def test_chosen_checks() -> None:
    flowkit.register("mine/right", Config, Right)
    lines = run("mine/right", "--event", "4", "--only", "log_det,far,shapes", "--skip", "far")
    assert [line.split()[0] for line in lines if line.startswith("    ")] == ["shapes", "log_det"]
    assert lines[-1] == "mine/right passes all 2 checks"


@pytest.mark.usefixtures("few_checks")
def test_checks_that_do_not_apply_are_not_counted_as_passed() -> None:
    flowkit.register("mine/right", Config, Right)
    only = "shapes,context,light"
    assert run("mine/right", "--event", "4", "--only", only)[-1] == "mine/right passes 1 check; 2 don't apply"
    assert run("mine/right", "--event", "4", "--only", "context")[-1] == "mine/right: none of the 1 checks applies"


class Stuck(ActNorm):
    """It never comes back, and lets no exception through."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        while True:
            with suppress(Exception):
                time.sleep(0.01)


def test_a_check_that_takes_too_long_is_stopped() -> None:
    flowkit.register("mine/stuck", Config, Stuck)
    lines = run("mine/stuck", "--event", "4", "--only", "log_det,state,merge", "--timeout", "0.2", code=1)
    outcomes = dict(line.split()[:2] for line in lines if line.startswith("    "))
    assert outcomes == {"state": "failed", "log_det": "failed", "merge": "failed"}
    assert "stopped after 0.2 s" in lines[1] and "test_cli_plugins_check.py" in lines[1]


class Projected(Conditional):
    """It can't be built without the shape of a context, which only a layer that declares to read one is told."""

    def __init__(self, event_shape: Shape, context_shape: Shape | None = None) -> None:
        super().__init__(event_shape, (math.prod(context_shape),))  # type: ignore[arg-type]


@pytest.mark.usefixtures("few_checks")
@pytest.mark.parametrize(("target", "error"), [(Conditional, "AssertionError"), (Projected, "PluginError")])
def test_what_requires_a_context_and_does_not_say_so(target: type, error: str) -> None:
    flowkit.register("mine/undeclared", Config, target)
    lines = run("mine/undeclared", "--event", "4", code=1)
    line = line_of(lines, "builds")
    assert f"without a context it raises {error}" in line and 'reads_context = "required"' in line
    assert Config.reads_context == "no"


class ReadsContext(MLP):
    """A conditioner that can't be built without the shape of a context."""

    def __init__(self, kept_shape: Shape, params_shape: Shape, context_shape: Shape) -> None:
        super().__init__(kept_shape, params_shape, (math.prod(context_shape),))


class MaskedReadsContext(MADE):
    """A masked conditioner that can't be built without the shape of a context."""

    def __init__(self, order: Order, params_shape: Shape, context_shape: Shape) -> None:
        super().__init__(order, params_shape, (math.prod(context_shape),))


@pytest.mark.parametrize(
    ("base", "target"), [(ConditionerConfig, ReadsContext), (MaskedConditionerConfig, MaskedReadsContext)]
)
def test_a_conditioner_that_requires_a_context_and_does_not_say_so(base: type[PluginConfig], target: type) -> None:
    flowkit.register("mine/undeclared", type("Silent", (base,), {}), target)
    line = line_of(run("mine/undeclared", "--event", "4", code=1), "builds")
    assert "without a context it raises PluginError" in line and 'reads_context = "required"' in line


def test_a_single_number_is_among_the_events() -> None:
    lines = run("glow/actnorm", "--only", "log_det")
    assert "glow/actnorm, [1]: 1 check" in lines


def test_checks_need_nothing_that_only_training_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flowkit, "train", None, raising=False)  # to be put back
    for name in [name for name in sys.modules if name.startswith("flowkit.train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)  # whoever imports it fails
    run("glow/actnorm", "--only", "log_det")


def test_a_terminal_shows_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes that for a terminal
    monkeypatch.setenv("TERM", "xterm")  # on a dumb one nothing is redrawn
    flowkit.register("mine/short", Config, Short)
    arguments = ["mine/short", "--event", "4,3,2", "--only", "log_det,shapes"]
    assert "    shapes" in "\n".join(run(*arguments, code=1))  # it is a pipe nevertheless
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda file: True)
    shown, listed = ("\n".join(run(*arguments, *more, code=1)) for more in ([], ["-v"]))
    assert "mine/short, [4, 3, 2]: shapes" in shown and "\n    shapes" not in shown and "    log_det" in shown
    assert "    shapes" in listed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["glow/permut"], "did you mean glow/permute"),
        (["glow/permute", "--event", "3,x"], "Invalid value for '--event'"),
        (["glow/permute", "--set", "order=no"], "flow[0].order: must be"),
        (["data/npy"], "requires path"),
        (["glow/permute", "--only", "log_dt"], "no check is called log_dt: did you mean log_det"),
        (["glow/permute", "--skip", "log_det,compil"], "no check is called compil: did you mean compile"),
        (["glow/permute", "--only", "edges"], "glow/permute has none of the checks that were chosen"),
        (["glow/permute", "--timeout", "0"], "must be above 0"),
        (["glow/permute", "--timeout", "nan"], "must be above 0"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str) -> None:
    assert words in " ".join(run(*arguments, code=2))
