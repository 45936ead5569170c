"""``python -m tests.zoo`` writes the table of the zoo."""

from pathlib import Path

from tests.zoo import members  # noqa: F401  (it fills the zoo)
from tests.zoo.zoo import table

Path(__file__).with_name("README.md").write_text(table(), "utf-8")
