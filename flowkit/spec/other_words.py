"""Lists what other libraries call the fields of a spec. It is imported only on the way to an error."""

from __future__ import annotations

import re
from collections.abc import Sequence

OTHER_WORDS = {
    "prior": ["base"],
    "latent": ["base"],
    "q0": ["base"],
    "layers": ["flow"],
    "transforms": ["flow"],
    "bijectors": ["flow"],
    "steps": ["flow", "epochs"],
    "type": ["use"],
    "_target_": ["use"],
    "class": ["use"],
    "mask": ["split"],
    "mask_type": ["split"],
    "direction": ["inverse"],
    "invert": ["inverse"],
    "network": ["conditioner"],
    "net": ["conditioner"],
    "subnet_constructor": ["conditioner"],
    "hidden_features": ["hidden"],
    "width": ["hidden"],
    "units": ["hidden"],
    "depth": ["layers"],
    "output_dim": ["features"],
    "knots": ["bins"],
    "tail_bound": ["bound"],
    "interval": ["bound"],
    "df": ["degrees_of_freedom"],
    "labels": ["classes", "label", "context"],
    "num_classes": ["classes"],
    "target": ["label"],
    "condition": ["context"],
    "conditions": ["context"],
    "dim": ["shape"],
    "features": ["shape"],
    "size": ["shape", "n"],
    "range": ["domain"],
    "learning_rate": ["lr"],
    "iterations": ["epochs"],
    "max_time": ["minutes"],
    "gpus": ["devices"],
    "grad_clip": ["clip_norm"],
    "gradient_clip_val": ["clip_norm"],
    "early_stopping": ["patience"],
    "weight_averaging": ["ema"],
    "accumulate_grad_batches": ["accumulate"],
    "validation_split": ["fractions"],
    "columns": ["event"],
    "cluster_std": ["noise"],
    "std": ["noise", "scale"],
    "sigma": ["noise", "scale"],
    "loc": ["mean"],
    "file": ["path"],
    "folder": ["path"],
    "root": ["path"],
}
"""What other libraries call a field -> what it may be called here."""


OTHER_PLUGINS = {
    "batchnorm": "glow/actnorm",
    "normalize": "glow/actnorm",
    "standardize": "glow/actnorm",
    "lstm": "encoder/gru",
    "rnn": "encoder/gru",
    "csv": "data/table",
    "parquet": "data/table",
    "numpy": "data/npy",
    "cifar10": "data/images",
    "imagefolder": "data/images",
}
"""What other libraries call a plugin, without its namespace -> the plugin of flowkit that serves the same purpose."""


def other_words(name: str) -> Sequence[str]:
    """Return the fields that other libraries call ``name``."""
    return OTHER_WORDS.get(_snake(name), ())


def other_plugin(name: str) -> str | None:
    """Suggest the plugin that serves the purpose of what other libraries call ``name``."""
    meant = OTHER_PLUGINS.get(re.split("[/.]", name)[-1].lower().replace("_", ""))
    return f"did you mean {meant}?" if meant else None


def words_of(name: str) -> list[str]:
    """Return the words of a name, the last first: that one usually says what is named."""
    return [word for word in reversed(_snake(name).split("_")) if word]


def _snake(name: str) -> str:
    return re.sub("[- ]", "_", re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()
