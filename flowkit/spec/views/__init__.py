"""Shows a spec as data, as a graph or as a picture. This package doesn't import torch."""

from flowkit.spec.views.data import as_dict
from flowkit.spec.views.graph import dot
from flowkit.spec.views.picture import svg

__all__ = ["as_dict", "dot", "svg"]
