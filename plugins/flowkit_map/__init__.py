"""Provides elementwise maps between domains: to the reals and back, and along a circle."""
