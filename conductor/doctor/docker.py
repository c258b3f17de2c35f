"""Checks of Docker: the daemon, its disk and its clock, and the credentials of registries."""

from collections.abc import Iterator

from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, error, info, warning
from conductor.doctor.room import little_room, size
from conductor.errors import ConductorError
from conductor.times import duration_text

UNREACHABLE = "docker-unreachable"
CLOCK_SECONDS = 5.0  # the call itself takes well below a second


def reachable(host: Examination) -> Iterator[Finding]:
    """The daemon answers."""
    try:
        host.context.runtime.daemon()
    except ConductorError as refused:
        yield unreachable(refused.sentence, refused.hint)


def unreachable(what: str, hint: str = "") -> Finding:
    """Return the finding for a daemon that refuses or does not answer in time."""
    return error(
        check=UNREACHABLE,
        what=what,
        why="services cannot be deployed, repaired or inspected, and tasks and cron jobs cannot run",
        fix=hint or "check it with systemctl status docker",
    )


def version(host: Examination) -> Iterator[Finding]:
    """The daemon has the API that Conductor uses."""
    daemon = host.context.runtime.daemon()
    if not daemon.supported:
        yield error(
            check="docker-version",
            what=f"{daemon.product} {daemon.version} is too old: Conductor needs {daemon.required}",
            why=f"calls to {daemon.product} may fail, or do something that Conductor does not expect",
            fix=f"upgrade {daemon.product}",
        )


def live_restore(host: Examination) -> Iterator[Finding]:
    """Containers survive a restart of the daemon. Swarm excludes that."""
    if host.context.host.fleet is None and not host.context.runtime.daemon().keeps_containers:
        yield info(
            check="docker-live-restore",
            what="live-restore is off: restarting or upgrading Docker stops every container",
            why="requests fail until supervise has restarted the containers",
            fix='add "live-restore": true to /etc/docker/daemon.json, then run systemctl reload docker',
        )


def disk(host: Examination) -> Iterator[Finding]:
    """There is free space where Docker stores its data."""
    directory = host.context.runtime.daemon().data_dir
    if directory:
        yield from little_room(
            host, "docker-disk", directory, "images cannot be pulled, and containers cannot be started"
        )


def room_for_images(host: Examination) -> Iterator[Finding]:
    """There is free space for the next revision of every service."""
    runtime = host.context.runtime
    directory = runtime.daemon().data_dir
    room = host.room(directory) if directory else None
    if room is None:
        return
    live = (host.context.store.wanted(service).release for service in host.readable)
    images = {image for one in live if one and (image := runtime.image(one.image_id))}
    needed = sum(image.size for image in images)
    if needed > room.free:
        yield warning(
            check="image-room",
            what=f"the next revisions of all services may need {size(needed)}; {directory} has {size(room.free)} free",
            why="an upgrade keeps the live image until the end; without space for both, the pull fails",
            fix="conductor gc   (if that is not enough: docker system df shows the space used by images)",
        )


def clock(host: Examination) -> Iterator[Finding]:
    """The daemon's clock agrees with this host's."""
    daemon = host.context.runtime.daemon()
    off = host.context.clock.age(daemon.time)
    if abs(off) > CLOCK_SECONDS:
        yield warning(
            check="docker-clock",
            what=f"{daemon.product}'s clock is {duration_text(round(abs(off)))} {'behind' if off > 0 else 'ahead of'} this host's",
            why="task timeouts and container ages are wrong",
            fix="timedatectl set-ntp true   (on both hosts)",
        )


def credentials(host: Examination) -> Iterator[Finding]:
    """The credentials for each image's registry can be read."""
    for image in dict.fromkeys(one.service.image for one in host.definitions.services.values()):
        try:
            host.context.runtime.check_credentials(image)
        except ConductorError as refused:
            yield error(
                check="registry-credentials",
                what=refused.sentence,
                why=f"{image} cannot be pulled, so an upgrade to a new revision fails",
                fix=refused.hint or "docker login",
            )


CHECKS = (reachable, version, live_restore, disk, room_for_images, clock, credentials)
