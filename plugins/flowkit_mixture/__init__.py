"""Provides the transformer of Flow++ (Ho et al. 2019): a mixture of logistic distributions."""
