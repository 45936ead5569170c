"""Fits a spec's flow to its data with Lightning Fabric, which is imported only when training starts."""

from flowkit.train.data import load_data, load_run_data
from flowkit.train.evaluation import evaluate
from flowkit.train.results import Results, read_results
from flowkit.train.runs import fit_arrays, resume, train

__all__ = ["Results", "evaluate", "fit_arrays", "load_data", "load_run_data", "read_results", "resume", "train"]
