"""Scores files of any length in constant memory.

Scores are kept in a part file, from which a stopped run is resumed.
"""
