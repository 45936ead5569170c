"""Writes docs/conformance.md from the checks: `make docs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flowkit.plugin.kinds import KINDS
from flowkit.testing import CHECKS, SLOW_CHECKS, purpose

PAGE = Path(__file__).with_name("conformance.md")

HEAD = """\
# The conformance kit

Is a layer right? A round trip can't tell, because a layer with a wrong log-det still inverts itself. `flowkit.testing`
moves every parameter away from its initial value, about as far as training does. Then it compares log-dets with the
Jacobian by automatic differentiation, in fp64. It also checks shapes, precision, gradients, batches of 0 and 1 and
everything else that a flow relies on. A message says what is wrong and, if the figures show it, why:

```text
log_det: log_det of forward_and_log_det is 0.48; the Jacobian by autodiff has 2.9; short by the factor h·w = 6: did
you forget the spatial positions?
```

## On the command line

```bash
flowkit plugins check glow/squeeze
flowkit plugins check glow/squeeze --set factor=3 --event 2,6,3
flowkit plugins check glow/squeeze --only log_det,round_trip
```

The command builds an installed plugin as specs do, and checks it on all of these events that it takes:

- a vector, a single number, an image with odd sides and one with even sides;
- a vector of an even size, if it takes no image with even sides;
- for bijectors and bases, an image of one position, which has one channel if they take such an image.

An encoder is checked on contexts: a vector, a set, an image, and labels. Splits, conditioners and transformers are also
checked in a coupling, and orders and masked conditioners in an autoregressive layer. A transformer isn't checked in an
autoregressive or elementwise step. If you give only a namespace, such as `glow`, all its plugins are checked. The exit
code is 1 if a check fails.

Each check is shown while it runs, with the seconds that it takes. In a pipe every check has a line of its own. On a
terminal the next check overwrites the line, and only failures stay; with `--verbose` all lines stay. `--only` and
`--skip` take the names of checks from the tables below.

A check that takes more than 300 seconds is stopped and counts as failed; `--timeout` sets another limit. The limit
interrupts Python code, waiting and child processes. It can't interrupt a single call into C, such as one large matrix
product or one run of onnxruntime: the check is stopped as soon as that call returns. There is no limit on Windows.

## In tests

```python
import pytest

from flowkit.testing import BijectorSubject, check_bijector, parametrize_with_checks, plugin_subjects
from flowkit_glow.actnorm import ActNorm
from flowkit_glow.squeeze import Squeeze


def test_squeeze():
    check_bijector(lambda: Squeeze((1, 4, 6)))


@parametrize_with_checks({"image": BijectorSubject(lambda: ActNorm((4, 3, 2)))}, slow=pytest.mark.slow)
def test_one_by_one(subject, check):
    check(subject)


@parametrize_with_checks(plugin_subjects("glow/squeeze"))
def test_as_specs_build_it(subject, check):
    check(subject)
```

There is a subject for each kind: `BijectorSubject`, `TransformerSubject`, `SplitSubject`, `ConditionerSubject`,
`MaskedConditionerSubject`, `OrderSubject`, `BaseSubject`, `EncoderSubject`, `DatasetSubject`. `check(subject)` runs its
checks, and `check_bijector(make, …)` is short for `check(BijectorSubject(make, …))`. Keep events small, at most some 60
values: Jacobians are computed in full. `seed=` of a subject draws other parameters and inputs. `slow=True` of `check`
adds `onnx` and `compile`, which are marked as slow below; `flowkit plugins check` runs them too. If a check doesn't
apply, such as `merge` to a layer that isn't channel-linear, `parametrize_with_checks` makes no test of it.

`run`, `check` and `parametrize_with_checks` take `only=` and `skip=` too. `run`, `run_check` and `check` take
`timeout=` in seconds; by default there is no limit.

If a check fails for a known reason, name the check and the reason: `expected_failures={"export": "needs an operator
that ONNX lacks"}`. If such a check passes, this is an error too.

`flowkit.testing.strategies` has strategies for [hypothesis](https://hypothesis.readthedocs.io): `events`, `images`,
`contexts`, `batches`, and `perturbed`, which moves the parameters of a module.

## The checks

The names of checks are stable. Every check has a wrong plugin in [the zoo](../tests/zoo/README.md) that it catches.
"""

TITLES = {"plugin": "A plugin as a whole, as specs name it"} | {
    kind.name: kind.plural.replace("-", " ").capitalize() for kind in KINDS.values()
}


def page() -> str:
    """The whole page, as Markdown."""
    modules = [kind for kind in TITLES if SLOW_CHECKS[kind]]
    common = {id_: check for id_, check in CHECKS["bijector"].items() if all(id_ in CHECKS[kind] for kind in modules)}
    parts = [HEAD, "### Every module, whatever its kind", _table({**common, **SLOW_CHECKS["bijector"]})]
    for kind, title in TITLES.items():
        own = {id_: check for id_, check in CHECKS[kind].items() if check is not common.get(id_)}
        parts += [f"### {title}", _table(own)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(checks: Mapping[str, object]) -> str:
    rows = [f"| `{id_}`{_slow(id_)} | {purpose(check).replace('|', chr(92) + '|')} |" for id_, check in checks.items()]
    return "\n".join(["| check | what it asks for |", "| --- | --- |", *rows])


def _slow(id_: str) -> str:
    return ", slow" if id_ in SLOW_CHECKS["bijector"] else ""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
