"""Who called: the person behind the process, for history and for whoever finds a lock held or a service stopped."""

import getpass
import os


def who() -> str:
    """The user; with sudo, its caller too."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    caller = os.environ.get("SUDO_USER")
    return f"{caller} (as {user})" if caller else user
