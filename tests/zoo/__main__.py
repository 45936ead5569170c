"""``python -m tests.zoo`` writes the table of the zoo."""

from pathlib import Path

from tests.zoo import (  # noqa: F401  (they fill the zoo)
    wrong,
    wrong_autoregressive,
    wrong_bases,
    wrong_continuous,
    wrong_inverses,
    wrong_later,
    wrong_parts,
    wrong_plugins,
)
from tests.zoo.zoo import table

Path(__file__).with_name("README.md").write_text(table(), "utf-8")
