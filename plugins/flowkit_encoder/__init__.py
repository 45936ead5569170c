"""Provides encoders of contexts: vectors, images, sets and sequences."""
