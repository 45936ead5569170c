"""Fills the zoo: importing this module defines all of its members."""

from tests.zoo import (  # noqa: F401
    wrong,
    wrong_autoregressive,
    wrong_bases,
    wrong_continuous,
    wrong_encoders,
    wrong_inverses,
    wrong_later,
    wrong_parts,
    wrong_plugins,
)
