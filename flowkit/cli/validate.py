"""Implements `flowkit validate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowkit.cli.options import Overrides
from flowkit.cli.terminal import echo

if TYPE_CHECKING:
    from flowkit.spec import Spec


def validate(
    specs: Annotated[list[Path], typer.Argument(metavar="SPEC", help="Spec files.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Check spec files: every field, and the shapes through the whole flow.

    Example: flowkit validate specs/glow-digits.yaml --set train.epochs=3
    """
    from flowkit.plugin import Registry
    from flowkit.spec import SpecError, read_spec

    registry = Registry.discover()
    valid = True
    for path in specs:
        try:
            echo(f"{path}: valid: {_describe(read_spec(path, overrides or (), registry))}")
        except SpecError as error:
            valid = False
            echo(f"{error}", err=True)
    if not valid:
        raise typer.Exit(SpecError.exit_code)


def _describe(spec: "Spec") -> str:
    from flowkit.spec import count_layers, flow_directions, latent_shapes

    layers = count_layers(spec.flow)
    latents = " + ".join(str(list(shape)) for shape in latent_shapes(spec))
    one_way = "" if (directions := flow_directions(spec)) == "both" else f", {directions} only"
    return f"{layers} layer{'s' * (layers != 1)}, event {list(spec.event.shape)}, latents {latents}{one_way}"
