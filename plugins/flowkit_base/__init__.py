"""Provides the base distributions."""
