"""Provides layers that add a function of x to x."""
