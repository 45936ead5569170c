"""Provides the transformer of neural spline flows (Durkan et al. 2019)."""
