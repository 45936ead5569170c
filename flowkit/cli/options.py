"""Defines options that several commands take."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a field of the spec. May be given several times."),
]


class Settable(TyperCommand):
    """A command with --set. If a field of `train` is written as an option, the error says how --set writes it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            unknown: Any = error  # the class of typer's errors has another place in each version
            if field := _setting(getattr(error, "option_name", "")):
                unknown.message, unknown.possibilities = f"{unknown.message}: write --set {field}=…", None
            raise


def _setting(option: str) -> str | None:
    """Return the path of the field of `train` with the name of an option: ``train.batch_size`` for --batch-size."""
    from flowkit.spec.model import Optimizer, Train  # only on the way to an error

    paths = {name: f"train.optimizer.{name}" for name in Optimizer.model_fields if name != "name"}
    paths |= {name: f"train.{name}" for name in Train.model_fields}
    return paths.get(option.lstrip("-").replace("-", "_"))
