"""The prefixes of the names of figures that the page and its pictures show together."""

LOST = "lost requests, "
STEPS = "steps of an upgrade, "
GROWTH = "growth, "
SHARES = "time of a command, "
