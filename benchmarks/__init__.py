"""How fast flowkit is, beside its peers and beside the limit: its coupling networks alone. ``make bench``."""
