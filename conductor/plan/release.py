"""What should run: images, releases and the wanted state of a service, as they are stored (pure)."""

from typing import Any, NamedTuple

import msgspec

from conductor.errors import ConductorError


class Image(NamedTuple):
    """A local image. `digest` is its name in a registry (`REPOSITORY@sha256:…`), empty when it came from none.

    `volumes` are the paths at which each of its containers gets a volume of its own (`VOLUME`).
    """

    id: str
    digest: str
    volumes: tuple[str, ...] = ()


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A service at a revision, with its image id and definition as committed. `id` is the change that created it.

    `definition` holds secrets as references only. `crontab` is the app's own crontab, as it printed it. `template` is the text
    of the definition's server template, if it has one.
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


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """Why, by whom and since when a service is stopped or paused. `until` is None for no end. Times are RFC 3339, UTC."""

    reason: str
    who: str
    since: str
    until: str | None = None

    def is_over(self, now: str) -> bool:
        """True once `until` has passed. Times in one format sort as text."""
        return self.until is not None and self.until <= now


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The wanted state of one service. Writing its file is the commit of a change; `change` is the last one committed.

    `crontab_removed`: `supervise` removed the crontab because the service left the definitions file, and will install it
    again when the service returns.
    """

    service: str
    version: int = 1
    release: Release | None = None
    kept: tuple[Release, ...] = ()
    scale: int | None = None
    stopped: Hold | None = None
    paused: Hold | None = None
    change: str = ""
    crontab_removed: bool = False

    def with_release(self, release: Release, keep: int) -> "Wanted":
        """Return the same with `release` live, and at most `keep` earlier ones for rollback, newest first."""
        before = (self.release, *self.kept) if self.release else self.kept
        others = tuple(r for r in before if r.revision != release.revision)
        return msgspec.structs.replace(self, release=release, kept=others[:keep])

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
