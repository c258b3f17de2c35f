"""Whether the files that a release was made from have changed since: its secret and env files, and its server template.

A release has a keyed digest of the environment, so that no value, however short, can be guessed from a state file.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping

import msgspec

from conductor.change.prerequisites import read_template
from conductor.definitions.environment import environment, file_stamps
from conductor.definitions.model import Definition
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError
from conductor.plan.release import Release, Wanted
from conductor.plan.replica import Replica
from conductor.plan.transition import Drift, drifted, image_changed
from conductor.state.store import Store


def environment_digest(values: Mapping[str, str | Secret], key: bytes) -> str:
    """Return the digest of an environment. Its first part names the key."""
    plain = sorted((name, value.reveal() if isinstance(value, Secret) else value) for name, value in values.items())
    digest = hmac.new(key, msgspec.json.encode(plain), hashlib.sha256).hexdigest()
    return f"{hashlib.sha256(key).hexdigest()[:8]}:{digest}"


class ReleaseFiles:
    """Compares files with releases. Files are read again only when one of them, or the release, has changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[object, tuple[Drift, ...]]] = {}

    def drift(
        self, wanted: Wanted, defined: Definition | None, released: Definition | None, replicas: Collection[Replica]
    ) -> tuple[Drift, ...]:
        """Return how a service differs from its definition in the file (None: absent or invalid) and from its files.

        `released` is the definition of the live release. The files do not matter while no replica of it exists.
        """
        live = wanted.release
        if defined is None or live is None:
            return ()
        found: tuple[Drift, ...] = ()
        if drifted(wanted, defined):
            found = (Drift.IMAGE if image_changed(live, defined) else Drift.DEFINITION,)
        if released is None or not any(one.release == live.id for one in replicas):
            return found
        return (*found, *self.changed(live, released))

    def changed(self, release: Release, definition: Definition) -> tuple[Drift, ...]:
        """Return what has changed. `definition` is that of the release. A file that cannot be read is not a change."""
        stamps = file_stamps(definition.service)
        if not stamps:
            return ()
        stamp = (release.id, release.environment, release.template, stamps)
        known = self._known.get(release.service)
        if known is None or known[0] != stamp:
            known = self._known[release.service] = (stamp, self._compare(release, definition))
        return known[1]

    def _compare(self, release: Release, definition: Definition) -> tuple[Drift, ...]:
        found = []
        try:
            if self._environment_changed(release, definition):
                found.append(Drift.ENVIRONMENT)
        except ConductorError:
            pass
        try:
            if read_template(definition) != release.template:
                found.append(Drift.TEMPLATE)
        except ConductorError:
            pass
        return tuple(found)

    def _environment_changed(self, release: Release, definition: Definition) -> bool:
        """False also for a release of a version without digests, and when the key of its digest is lost."""
        key = self._store.digest_key()
        if not release.environment or key is None:
            return False
        now = environment_digest(environment(definition.service), key)
        return now.partition(":")[0] == release.environment.partition(":")[0] and now != release.environment
