"""Implements the `flowkit-runtime` command.

Its modules import nothing heavy, so that `flowkit` can include its commands.
"""
