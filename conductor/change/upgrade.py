"""`service upgrade`: lock, settle, resolve, and hand what is to change to the runbook (`run.py`)."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from conductor.change.checks import check
from conductor.change.doors import Doors
from conductor.change.image import pull
from conductor.change.preview import preview
from conductor.change.run import refused, run
from conductor.change.settle import settled
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.plan.moves import Move, refuse_stopped, release, replace_all
from conductor.plan.values import Image
from conductor.proxy.render import Site
from conductor.report.events import Finished, Told


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beyond ids and revision."""

    plan_only: bool = False
    force: bool = False
    start: bool = False
    skip_hooks: bool = False
    wait_seconds: float = 0.0


def upgrade(doors: Doors, definitions: Sequence[Definition], revision: str, options: Options) -> Finished:
    """Move services to a revision, all or none."""
    began = doors.clock.monotonic()
    with _locked(doors, sorted(d.id for d in definitions), options):
        change = secrets.token_hex(4)
        moves = [_move(doors, d, revision, change, options) for d in definitions]
        try:
            moves = [_resolve(doors, move, options) for move in moves]
            needed = [move for move in moves if options.force or not _is_live(doors, move)]
        except ConductorError as error:
            raise refused(doors, moves, error) from None
        for move in moves:
            if move not in needed:
                text = (
                    f"{move.definition.id} already runs {revision}: {move.count} of {move.count} healthy; nothing to do"
                )
                if not needed and move is moves[-1]:
                    return Finished(text, doors.clock.monotonic() - began, 0, 0)
                doors.report.emit(Told(text))
        if options.plan_only:
            return preview(doors, needed, began)
        return run(doors, needed, change, began)


@contextlib.contextmanager
def _locked(doors: Doors, services: Sequence[str], options: Options) -> Iterator[None]:
    if not options.plan_only:
        with settled(doors, services, options.wait_seconds):
            yield
        return
    with contextlib.ExitStack() as locks:
        for service in services:
            locks.enter_context(doors.locks.hold(service, options.wait_seconds))
            if doors.store.journal(service) is not None:
                doors.report.emit(Told(f"a change of {service} died; it would be settled first"))
        yield


def _move(doors: Doors, definition: Definition, revision: str, change: str, options: Options) -> Move:
    wanted = doors.store.wanted(definition.id)
    if not options.start:
        refuse_stopped(wanted)
    to = release(definition, revision, "", change)
    return replace_all("upgrade", wanted, definition, to, (), keep_releases=doors.host.keep)


def _resolve(doors: Doors, move: Move, options: Options) -> Move:
    """The move with the image id that everything uses from here on, and with what runs now."""
    if move.new.release is None:
        return move
    image = _image(doors, move.new.release.image, options)
    to = msgspec.structs.replace(move.new.release, image_id=image.id, image_digest=image.digest)
    containers = doors.engine.containers(move.definition.id)
    hook = None if options.skip_hooks else move.definition.service.before_upgrade
    return replace_all("upgrade", move.old, move.definition, to, containers, keep_releases=doors.host.keep, hook=hook)


def _image(doors: Doors, reference: str, options: Options) -> Image:
    found = doors.engine.image(reference)
    if found is None and options.plan_only:
        doors.report.emit(Told(f"{'pull':>8}  fetch {reference}"))
    elif found is None:
        found = pull(doors.engine, reference, doors.report, doors.clock)
    return found or Image("", "")


def _is_live(doors: Doors, move: Move) -> bool:
    """The same release, at full count and no more, each answering, and nginx at exactly these."""
    live, to, service = move.old.release, move.new.release, move.definition.service
    if live is None or to is None or move.old.stopped or len(move.gone) != move.count:
        return False
    if (live.revision, live.image_id, live.definition) != (to.revision, to.image_id, to.definition):
        return False
    if not all(c.running and c.change == live.change for c in move.gone):
        return False
    if service.nginx and not doors.proxy.in_force((Site(move.definition, tuple(c.address for c in move.gone)),)):
        return False
    return service.health is None or all(check(doors, c, service.health, str).ok for c in move.gone)
