"""The `flowkit-runtime` command. Its commands import nothing heavy before they run, so that `flowkit` can have them."""
