"""bin/migrate: migrates the database to this revision's schema before the revision's containers start."""

import sys

from payments import broken, settings, signals
from payments.store import Store


def main() -> int:
    """Apply missing migrations and log their versions."""
    signals.block()
    broken.start("migrate")
    store = Store(settings.data_directory())
    applied = store.migrate()
    settings.log(
        f"migrate: applied {', '.join(map(str, applied)) or 'nothing'}; the schema is at version {store.check()}"
    )
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
