"""Fits a flow to arrays in Python, and returns it with its history: ``flowkit.fit``."""

from flowkit.fitted.fitting import fit
from flowkit.fitted.result import FittedFlow

__all__ = ["FittedFlow", "fit"]
