"""Lists what other libraries call the fields of a spec. It is imported only on the way to an error."""

from __future__ import annotations

import re

OTHER_WORDS = {
    "base": "prior latent q0",
    "flow": "layers transforms bijectors steps",
    "use": "type _target_ class",
    "split": "mask mask_type",
    "inverse": "direction invert",
    "conditioner": "network net subnet_constructor",
    "hidden": "hidden_features width units",
    "layers": "depth",
    "features": "output_dim",
    "bins": "knots",
    "bound": "tail_bound interval",
    "degrees_of_freedom": "df",
    "classes": "labels num_classes",
    "label": "labels target",
    "context": "labels condition conditions",
    "shape": "dim features size",
    "n": "size",
    "domain": "range",
    "bounds": "domain range support",
    "lr": "learning_rate",
    "epochs": "steps iterations",
    "minutes": "max_time",
    "devices": "gpus",
    "clip_norm": "grad_clip gradient_clip_val",
    "patience": "early_stopping",
    "ema": "weight_averaging",
    "accumulate": "accumulate_grad_batches",
    "fractions": "validation_split",
    "event": "columns",
    "noise": "cluster_std std sigma",
    "scale": "std sigma",
    "mean": "loc",
    "path": "file folder root",
}
"""A field -> what other libraries call it."""


def other_words(name: str) -> list[str]:
    """Return the fields that other libraries call ``name``."""
    word = _snake(name)
    return [field for field, others in OTHER_WORDS.items() if word in others.split()]


def words_of(name: str) -> list[str]:
    """Return the words of a name, the last first: that one usually says what is named."""
    return [word for word in reversed(_snake(name).split("_")) if word]


def _snake(name: str) -> str:
    return re.sub("[- ]", "_", re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()
