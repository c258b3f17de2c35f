"""The user who runs the process, as the history and holds record it."""

import getpass
import os


def current_user() -> str:
    """Return the user name. With sudo, return the caller's name followed by that of the user that the process runs as."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    caller = os.environ.get("SUDO_USER")
    return f"{caller} (as {user})" if caller else user
