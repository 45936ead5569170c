"""Searches for good values of a spec's fields: it trains the spec with many values, chosen by Optuna."""
