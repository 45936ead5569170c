"""A spec to look at: as data, as a graph, as a picture. No torch."""

from flowkit.spec.views.data import as_dict
from flowkit.spec.views.graph import dot
from flowkit.spec.views.picture import svg

__all__ = ["as_dict", "dot", "svg"]
