"""`rollback`, `restart`, `start`, `stop` and `scale`: each wants something else of one service, all are walked alike."""

import secrets
from typing import Protocol

import msgspec

from conductor.change.doors import Doors, who
from conductor.change.run import run
from conductor.change.settle import settle
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.plan.moves import Action, Move, adjust, live_release, previous_release, refuse_stopped, replace_all
from conductor.plan.values import Container, Held, Release, Wanted
from conductor.report.events import Finished


class Verb(Protocol):
    """From what is wanted and what runs to a move; `change` is the new change's name."""

    def __call__(self, doors: Doors, wanted: Wanted, containers: tuple[Container, ...], change: str) -> Move:
        """Raise what refuses it; nothing was changed yet."""


def perform(doors: Doors, service: str, verb: Verb, wait_seconds: float) -> Finished:
    """Run one verb on one service, under its lock."""
    began = doors.clock.monotonic()
    with doors.locks.hold(service, wait_seconds):
        settle(doors, service)
        change = secrets.token_hex(4)
        wanted = doors.store.wanted(service)
        move = verb(doors, wanted, doors.engine.containers(service), change)
        if move.new == msgspec.structs.replace(move.old, change=move.new.change) and not move.added and not move.gone:
            text = (
                f"{service} is as wanted: {'stopped' if move.new.stopped else f'{move.count} running'}; nothing to do"
            )
            return Finished(text, doors.clock.monotonic() - began, 0, 0)
        return run(doors, [move], change, began)


def rollback(revision: str | None) -> Verb:
    """To a kept release, with the definition and the image it had; needs no registry."""

    def verb(doors: Doors, wanted: Wanted, containers: tuple[Container, ...], change: str) -> Move:
        refuse_stopped(wanted)
        to = msgspec.structs.replace(previous_release(wanted, revision), change=change)
        _have_image(doors, to)
        definition = restore(wanted.service, to.definition)
        return replace_all("rollback", wanted, definition, to, containers, keep_releases=doors.host.keep)

    return verb


def restart(definition: Definition) -> Verb:
    """The live revision anew, with the definition as it is now."""

    def verb(doors: Doors, wanted: Wanted, containers: tuple[Container, ...], change: str) -> Move:
        refuse_stopped(wanted)
        live = live_release(wanted)
        _have_image(doors, live)
        to = msgspec.structs.replace(live, change=change, digest=definition.digest, definition=definition.written)
        return replace_all("restart", wanted, definition, to, containers, keep_releases=doors.host.keep)

    return verb


def start(doors: Doors, wanted: Wanted, containers: tuple[Container, ...], change: str) -> Move:
    """Not stopped any more: what is missing of the committed release is started."""
    _have_image(doors, live_release(wanted))
    return _adjust("start", wanted, msgspec.structs.replace(wanted, stopped=None), containers, change)


def stop(reason: str) -> Verb:
    """Nothing of it runs until it is started again; nginx answers 503."""

    def verb(doors: Doors, wanted: Wanted, containers: tuple[Container, ...], change: str) -> Move:
        held = wanted.stopped or Held(reason=reason, who=who(), since=doors.clock.now())
        return _adjust("stop", wanted, msgspec.structs.replace(wanted, stopped=held), containers, change)

    return verb


def scale(count: int | None) -> Verb:
    """So many from now on; None is what the definitions say again."""

    def verb(doors: Doors, wanted: Wanted, containers: tuple[Container, ...], change: str) -> Move:
        _have_image(doors, live_release(wanted))
        return _adjust("scale", wanted, msgspec.structs.replace(wanted, scale=count), containers, change)

    return verb


def _adjust(action: Action, wanted: Wanted, new: Wanted, containers: tuple[Container, ...], change: str) -> Move:
    definition = restore(wanted.service, live_release(wanted).definition)
    return adjust(action, wanted, msgspec.structs.replace(new, change=change), definition, containers)


def _have_image(doors: Doors, release: Release) -> None:
    if doors.engine.image_id(release.image_id) is None:
        raise ConductorError(
            f"cannot use release {release.revision} of {release.service}: its image {release.image} is gone",
            f"docker pull {release.image}, or upgrade to a revision that can be pulled",
        )
