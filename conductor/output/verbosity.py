"""How much is printed on standard error: `--verbose` and `--quiet`.

The verbosity is a global of the process, because the modules that print errors, warnings and Docker calls share no value.
"""

import enum


class Verbosity(enum.Enum):
    """`QUIET` prints no progress, no notices, and no warnings of a successful action; `VERBOSE` also each Docker call."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


_chosen = Verbosity.NORMAL


def choose(verbosity: Verbosity) -> None:
    """Set the verbosity of this process."""
    global _chosen  # noqa: PLW0603 (see above)
    _chosen = verbosity


def show_plan(plan_only: bool) -> None:
    """With `--plan`, ignore `--quiet`: the plan is the result of the command."""
    if plan_only and is_quiet():
        choose(Verbosity.NORMAL)


def chosen() -> Verbosity:
    """Return the verbosity of this process."""
    return _chosen


def is_quiet() -> bool:
    """Return whether progress and notices are suppressed."""
    return _chosen is Verbosity.QUIET


def is_verbose() -> bool:
    """Return whether each Docker call is printed."""
    return _chosen is Verbosity.VERBOSE
