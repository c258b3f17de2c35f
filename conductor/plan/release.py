"""What should run: images, releases and the wanted state of a service, as they are stored (pure)."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from conductor.errors import ConductorError
from conductor.plan.replica import Replica


class Image(NamedTuple):
    """A local image. `digest` is its name in a registry (`REPOSITORY@sha256:…`), empty when it came from none.

    `volumes` are the paths at which each of its containers gets a volume of its own (`VOLUME`). `size` is in bytes, including
    layers that it shares with other images.
    """

    id: str
    digest: str
    volumes: tuple[str, ...] = ()
    size: int = 0


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A service at a revision, with its image id and definition as committed. `id` is the change that created it.

    `definition` holds secrets as references only. `crontab` is the app's own crontab, as it printed it. `template` is the text
    of the definition's server template, if it has one. `environment` is a keyed digest of the environment that its replicas
    were started with; empty without secret and env files.
    """

    id: str
    service: str
    revision: str
    image: str
    image_id: str
    image_digest: str = ""
    digest: str
    definition: dict[str, Any]
    crontab: str = ""
    template: str | None = None
    environment: str = ""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Why, by whom and since when a service is stopped or paused. `until` is None for no end. Times are RFC 3339, UTC."""

    reason: str
    who: str
    since: str
    until: str | None = None

    def is_over(self, now: str) -> bool:
        """True once `until` has passed. Times in one format sort as text."""
        return self.until is not None and self.until <= now


class Retiring(msgspec.Struct, frozen=True, kw_only=True):
    """An old replica that has received the stop signal, and for which no change waits. `supervise` or a change removes the
    replica once it has exited, and kills it after `until` (seconds since 1970): `grace` seconds after the signal.
    `ends` is the same time in seconds since the host's boot, which do not jump; None in a file of an older version.

    `definition` is that of its own release, which need not be kept: it names the secrets that its log may contain. Without
    it, no log is kept.
    """

    id: str
    grace: float
    until: float
    ends: float | None = None
    definition: dict[str, Any] = {}

    def is_over(self, wall: float, monotonic: float) -> bool:
        """True once the time is over. `wall` and `monotonic` are the time now; `ends` of an earlier boot is not used."""
        if self.ends is not None and self.ends - monotonic <= self.grace:
            return monotonic >= self.ends
        return wall >= self.until


class Maintenance(Hold, frozen=True, kw_only=True):
    """By whom and since when nginx returns 503. `reason` is the message that clients see.

    `template` is the text of the operator's own page, as it was when the maintenance began; None: Conductor's page.
    """

    template: str | None = None

    @property
    def hold(self) -> Hold:
        """Return who began the maintenance, when, and the message; without the page."""
        return Hold(reason=self.reason, who=self.who, since=self.since)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted state of one service. Writing its file is the commit of a change; `change` is the last one committed.

    `crontab_removed`: `supervise` removed the crontab because the service left the definitions file, and will install it
    again when the service returns. `rolled_back` are the ids of the kept releases that a rollback has left; the next one skips
    them. `retiring` are old replicas that are not removed yet; apart from that removal, they count as
    removed.
    """

    service: str
    version: int = 1
    release: Release | None = None
    kept: tuple[Release, ...] = ()
    scale: int | None = None
    stopped: Hold | None = None
    paused: Hold | None = None
    maintenance: Maintenance | None = None
    change: str = ""
    crontab_removed: bool = False
    rolled_back: tuple[str, ...] = ()
    retiring: tuple[Retiring, ...] = ()

    def with_release(self, release: Release, keep: int) -> "Wanted":
        """Return the same with `release` live, and at most `keep` earlier ones for rollback, newest first."""
        before = (self.release, *self.kept) if self.release else self.kept
        others = tuple(r for r in before if r.revision != release.revision)
        kept = others[:keep]
        rolled_back = tuple(one.id for one in kept if one.id in self.rolled_back)
        return msgspec.structs.replace(self, release=release, kept=kept, rolled_back=rolled_back)

    def without_retiring(self, replicas: Iterable[Replica]) -> tuple[Replica, ...]:
        """Return the replicas that are not retiring."""
        retiring = {one.id for one in self.retiring}
        return tuple(one for one in replicas if one.id not in retiring)

    @property
    def live(self) -> Release:
        """The live release; `ConductorError` when the service has none."""
        if self.release is None:
            raise ConductorError(
                f"cannot find a release of {self.service}: it has never been deployed on this host",
                f"conductor service upgrade --id {self.service} --revision REV",
            )
        return self.release

    def find(self, revision: str | None) -> Release | None:
        """Return the live or kept release of `revision`, or None if there is none. If `revision` is None, return the live one."""
        if revision is None:
            return self.live
        return next((one for one in (self.release, *self.kept) if one and one.revision == revision), None)
