"""Python's garbage collector in a process that stays."""

import gc

# Python's defaults, instead of those of a short command (`__main__.py`): with these, ten minutes of garbage took 12 MiB.
THRESHOLDS = (700, 10, 10)


def collect_often() -> None:
    """Examine what is loaded by now a last time, and collect later garbage soon."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
