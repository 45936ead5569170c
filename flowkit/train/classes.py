"""Computes the shares of the classes among labels."""

from __future__ import annotations

import numpy as np

from flowkit.plugin import Arrays
from flowkit.spec import ContextSpec

MOST_CLASSES = 4096
"""The most classes whose names and shares are kept. A marginal density takes one pass of the flow for each class."""


def class_shares(arrays: Arrays, context: ContextSpec | None) -> dict[str, float] | None:
    """Return the share of each class among the events, by its name, in the order of the labels.

    Shares are weighted if the events have weights. Classes without names have their numbers as names. Returns None if
    the context isn't a class, or has more than MOST_CLASSES.
    """
    if context is None or context.classes is None or context.classes > MOST_CLASSES or arrays.context is None:
        return None
    counts = np.bincount(arrays.context[:], arrays.weights, context.classes)
    names = arrays.classes or tuple(map(str, range(context.classes)))
    return dict(zip(names, (counts / counts.sum()).tolist(), strict=True))
