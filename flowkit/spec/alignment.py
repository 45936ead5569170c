"""Which entries of two lists correspond: a longest common subsequence, the earliest one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def align(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[bool, slice, slice]]:
    """The two lists in parts, in order: whether these are one entry that corresponds to one, or what differs; and where
    they are in the one list and in the other.

    difflib's time grows with the cube of the length where entries repeat, as the steps of a flow do: it took 16 s for
    1,000 steps where this takes 1 ms, and a spec may have 4,000.
    """
    row = column = 0
    for next_row, next_column in [*_common(before, after), (len(before), len(after))]:
        if (row, column) != (next_row, next_column):
            yield False, slice(row, next_row), slice(column, next_column)
        row, column = next_row + 1, next_column + 1
        if next_row < len(before):
            yield True, slice(next_row, row), slice(next_column, column)


def _common(before: Sequence[str], after: Sequence[str]) -> list[tuple[int, int]]:
    """Places (row, column) of equal entries, both increasing, as many as there can be.

    The whole number rows[j] has bit i set where the lists from i + 1 and from j on have as long a subsequence in
    common as those from i and from j on (Hyyrö 2004, backwards): a row of the table takes a few operations.
    """
    every = (1 << len(before)) - 1
    places: dict[str, int] = {}
    for index, entry in enumerate(reversed(before)):
        places[entry] = places.get(entry, 0) | 1 << index
    rows = [every]
    for entry in reversed(after):
        row = rows[-1]
        equal = row & places.get(entry, 0)
        rows.append((row + equal | row - equal) & every)
    found, row, column = [], 0, 0
    while row < len(before) and column < len(after):
        if before[row] == after[column]:
            found.append((row, column))
            row, column = row + 1, column + 1
        elif rows[len(after) - column] >> (len(before) - 1 - row) & 1:
            row += 1
        else:
            column += 1
    return found
