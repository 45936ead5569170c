"""Makes a spec that trains as written from a data file. This package needs numpy only, no torch."""

from flowkit.starting.columns import see
from flowkit.starting.layers import hidden_width
from flowkit.starting.look import Look, look, look_at_arrays
from flowkit.starting.table import TableLook, choose
from flowkit.starting.writing import starting_spec, train_section

__all__ = [
    "Look",
    "TableLook",
    "choose",
    "hidden_width",
    "look",
    "look_at_arrays",
    "see",
    "starting_spec",
    "train_section",
]
