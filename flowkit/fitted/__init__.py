"""Fits a flow to arrays or tables in Python, and returns it with its history: ``flowkit.fit``."""

from flowkit.fitted.fitting import fit
from flowkit.fitted.result import FittedFlow
from flowkit.fitted.table_result import FittedTable

__all__ = ["FittedFlow", "FittedTable", "fit"]
