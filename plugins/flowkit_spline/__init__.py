"""Neural spline flows (Durkan et al. 2019)."""
