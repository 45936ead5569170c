"""What a spec may say of the split in this package. Imports no torch."""

from flowkit.plugin import Descriptor, Shape, ShapeError, SplitConfig, hookimpl
from pydantic import PositiveInt


class NameSplitConfig(SplitConfig):
    """The first few channels are kept, the others transformed."""

    kept: PositiveInt = 1
    """How many are kept."""

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
