"""From a data file to a spec that trains as written. numpy only, no torch."""

from flowkit.starting.look import Look, look
from flowkit.starting.writing import starting_spec

__all__ = ["Look", "look", "starting_spec"]
