"""Searches for good values of a spec's fields: trains the spec with many values, which Optuna chooses."""
