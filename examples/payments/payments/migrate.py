"""bin/migrate: brings the database to this revision's schema, before the revision's containers start."""

import sys

from payments import broken, settings, signals
from payments.store import Store


def main() -> int:
    """Apply what is missing and say so."""
    signals.hold()
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
