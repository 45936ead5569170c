"""Registers the split of this package, with the fields that a spec may give it. It imports no torch."""

from flowkit.plugin import Descriptor, Shape, ShapeError, SplitConfig, hookimpl
from pydantic import PositiveInt


class NameSplitConfig(SplitConfig):
    """Keeps the first few channels, and transforms the others."""

    kept: PositiveInt = 1
    """The number of channels that are kept."""

    def split_shapes(self, event: Shape) -> tuple[Shape, Shape]:
        channels, *positions = event
        if channels <= self.kept:
            raise ShapeError(f"of {channels} channels, keeping {self.kept} leaves none to transform: lower `kept`")
        return (self.kept, *positions), (channels - self.kept, *positions)


@hookimpl
def flowkit_register_splits() -> list[Descriptor]:
    return [
        Descriptor("split", NameSplitConfig, "flowkit_NAME.split:NameSplit"),
    ]
