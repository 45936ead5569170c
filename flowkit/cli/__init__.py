"""Implements the command line: one thin module for each command, which imports what it needs in its body.

These modules do without ``from __future__ import annotations``: typer reads the annotations of every command when the
program starts, and would first have to compile their texts.
"""
