from __future__ import annotations

import pytest
from torch import Tensor
from typer.testing import CliRunner

import flowkit
from flowkit.bijectors import Bijector
from flowkit.cli.main import app
from flowkit.plugin import BijectorConfig, DatasetConfig, Shape, ShapeError
from flowkit.testing import CHECKS, SLOW_CHECKS
from flowkit_glow.actnorm import ActNorm


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
    """y = x + the sum of a context, which it can't do without."""

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert context is not None
        return x + context.sum(1, keepdim=True), x.new_zeros(x.shape[0])

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert context is not None
        return y - context.sum(1, keepdim=True), y.new_zeros(y.shape[0])


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


@pytest.fixture
def only_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow checks are left out: one test, of what is right, runs them."""
    monkeypatch.setitem(SLOW_CHECKS, "bijector", {})


@pytest.mark.slow
def test_what_is_right() -> None:
    *lines, last = run("glow/permute", "--event", "5")
    total = len(CHECKS["plugin"]) + len(CHECKS["bijector"]) + len(SLOW_CHECKS["bijector"])
    assert last == f"glow/permute passes all {total} checks"
    assert [line.partition(": ")[0] for line in lines] == ["glow/permute in a spec, [5]", "glow/permute, [5]"]


def test_every_check_is_listed_if_asked_for() -> None:
    lines = run("data/digits", "-v")
    whole, dataset = [["builds", "passed"], ["written_back", "skipped"], ["light", "passed"]], CHECKS["dataset"]
    listed = [line.split()[:2] for line in lines if line.startswith("    ")]
    assert listed == whole + [[check, "passed"] for check in dataset]


@pytest.mark.usefixtures("only_fast")
def test_what_is_wrong() -> None:
    flowkit.register("mine/short", Config, Short)
    lines = run("mine/short", "--event", "[4, 3, 2]", code=1)
    (line,) = [line for line in lines if line.startswith("    log_det ")]
    assert "failed" in line and "short by the factor h·w = 6: did you forget the spatial positions?" in line
    assert lines[-1].startswith("mine/short: ") and lines[-1].endswith(" checks failed")


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


@pytest.mark.usefixtures("only_fast")
def test_all_of_a_namespace() -> None:
    flowkit.register("mine/a", Config, Right)
    flowkit.register("mine/bare", Config, Bare)
    lines = run("mine", "--event", "4", code=1)
    assert any(line.startswith("mine/a passes all ") for line in lines) and "mine/bare: 1 of 1 checks failed" in lines


@pytest.mark.usefixtures("only_fast")
def test_what_cannot_be_checked_does_not_keep_the_others_from_it() -> None:
    flowkit.register("mine/a", Picky, Short)
    flowkit.register("mine/b", Config, Right)
    lines = run("mine", "--event", "4", code=2)
    assert any(line.startswith("mine/b passes all ") for line in lines)
    assert any(line.startswith("mine/a can't be checked: ") and "takes images" in line for line in lines)


@pytest.mark.usefixtures("only_fast")
@pytest.mark.parametrize(("target", "code"), [(Conditional, 0), (Right, 1)])
def test_with_a_context(target: type, code: int) -> None:
    flowkit.register("mine/conditional", ConditionalConfig, target)
    lines = run("mine/conditional", "--event", "4", "--context", "2", "-v", code=code)
    (line,) = [line for line in lines if line.startswith("    context ")]
    assert ("passed" if target is Conditional else "forward_and_log_det ignores its context") in line
    assert lines[0].startswith("mine/conditional in a spec, [4], conditional: ")


@pytest.mark.usefixtures("only_fast")
def test_what_requires_a_context_is_given_one() -> None:
    flowkit.register("mine/conditional", ConditionalConfig, Conditional)
    lines = run("mine/conditional", "--event", "4")
    assert lines[0].startswith("mine/conditional in a spec, [4], conditional: ")


@pytest.mark.usefixtures("only_fast")
def test_a_context_for_what_declares_to_read_none() -> None:
    flowkit.register("mine/undeclared", Config, Conditional)
    lines = run("mine/undeclared", "--event", "4", "--context", "2", code=2)
    assert "mine/undeclared (this process) reads no context, as its config declares" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["glow/permut"], "did you mean glow/permute"),
        (["glow/permute", "--event", "3,x"], "Invalid value for '--event'"),
        (["glow/permute", "--set", "order=no"], "flow[0].order: must be"),
        (["data/npy"], "requires path"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str) -> None:
    assert words in " ".join(run(*arguments, code=2))
