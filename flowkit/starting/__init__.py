"""From a data file to a spec that trains as written. numpy only, no torch."""

from flowkit.starting.layers import hidden_width
from flowkit.starting.look import Look, look, look_at_arrays
from flowkit.starting.writing import starting_spec, train_section

__all__ = ["Look", "hidden_width", "look", "look_at_arrays", "starting_spec", "train_section"]
