"""How fast flowkit is, beside its peers and beside the limit: its coupling networks alone. ``make bench``."""

import os

os.environ["KINETO_LOG_LEVEL"] = "99"  # before torch is imported: its profiler writes to stderr otherwise
