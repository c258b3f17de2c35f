"""bin/console: a Python prompt with the store."""

import code
import contextlib
import sys

from payments import settings
from payments.store import Store


def main() -> int:
    """Run the prompt until the end of its input."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - the import enables line editing
    store = Store(settings.data_directory())
    store.migrate()
    banner = f"payments, revision {settings.revision()}: `store` is {store.path}; try store.counts()"
    try:
        code.interact(banner, local={"store": store, "settings": settings}, exitmsg="")
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
