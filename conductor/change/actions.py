"""`rollback`, `restart`, `start`, `stop` and `scale`: each wants something else of one service, all are walked alike."""

import secrets
from typing import Protocol

import msgspec

from conductor.caller import who
from conductor.change.context import Context
from conductor.change.recover import settled
from conductor.change.runbook import run
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.output.events import Finished
from conductor.plan.transition import (
    Action,
    Transition,
    adjust,
    live_release,
    previous_release,
    refuse_stopped,
    replace_all,
)
from conductor.plan.values import Container, Held, Release, Wanted


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """One service under its lock: what is wanted, what runs, what the definitions file says (None: it does not know the
    service, or is broken there), and the name of the change to come."""

    wanted: Wanted
    containers: tuple[Container, ...]
    defined: Definition | None
    change: str


class Verb(Protocol):
    """From what is now to a transition."""

    def __call__(self, context: Context, now: Now) -> Transition:
        """Raise what refuses it; nothing was changed yet."""


def perform(context: Context, service: str, verb: Verb, *, defined: Definition | None, wait_seconds: float) -> Finished:
    """Run one verb on one service, under its lock."""
    began = context.clock.monotonic()
    with settled(context, [service], wait_seconds):
        change = secrets.token_hex(4)
        wanted, containers = context.store.wanted(service), context.runtime.containers(service)
        transition = verb(context, Now(wanted=wanted, containers=containers, defined=defined, change=change))
        if (
            transition.new == msgspec.structs.replace(transition.old, change=transition.new.change)
            and not transition.added
            and not transition.gone
        ):
            text = f"{service} is as wanted: {'stopped' if transition.new.stopped else f'{transition.count} running'}; nothing to do"
            return Finished(text, context.clock.monotonic() - began, 0, 0)
        return run(context, [transition], change, began)


def rollback(revision: str | None) -> Verb:
    """To a kept release, with the definition and the image it had; needs no registry."""

    def verb(context: Context, now: Now) -> Transition:
        refuse_stopped(now.wanted)
        to = msgspec.structs.replace(previous_release(now.wanted, revision), change=now.change)
        _have_image(context, to)
        definition = restore(now.wanted.service, to.definition)
        return replace_all(
            "rollback", now.wanted, definition, to, now.containers, keep_releases=context.host.keep, counted=now.defined
        )

    return verb


def restart(definition: Definition) -> Verb:
    """The live revision anew, with the definition as it is now."""

    def verb(context: Context, now: Now) -> Transition:
        refuse_stopped(now.wanted)
        live = live_release(now.wanted)
        if live.image != f"{definition.service.image}:{live.revision}":
            raise ConductorError(
                f"cannot restart {definition.id}: it runs {live.image}, and its definition names {definition.service.image}",
                f"conductor service upgrade --id {definition.id} --revision {live.revision}",
            )
        _have_image(context, live)
        to = msgspec.structs.replace(live, change=now.change, digest=definition.digest, definition=definition.written)
        return replace_all("restart", now.wanted, definition, to, now.containers, keep_releases=context.host.keep)

    return verb


def start(context: Context, now: Now) -> Transition:
    """Not stopped any more: what is missing of the committed release is started."""
    _have_image(context, live_release(now.wanted))
    return _adjust("start", now, msgspec.structs.replace(now.wanted, stopped=None))


def stop(reason: str) -> Verb:
    """Nothing of it runs until it is started again; nginx answers 503."""

    def verb(context: Context, now: Now) -> Transition:
        held = now.wanted.stopped or Held(reason=reason, who=who(), since=context.clock.now())
        return _adjust("stop", now, msgspec.structs.replace(now.wanted, stopped=held))

    return verb


def scale(count: int | None) -> Verb:
    """So many from now on; None is what the definitions say again."""

    def verb(context: Context, now: Now) -> Transition:
        _have_image(context, live_release(now.wanted))
        return _adjust("scale", now, msgspec.structs.replace(now.wanted, scale=count))

    return verb


def _adjust(action: Action, now: Now, new: Wanted) -> Transition:
    definition = restore(new.service, live_release(new).definition)
    new = msgspec.structs.replace(new, change=now.change)
    return adjust(action, now.wanted, new, definition, now.containers, counted=now.defined)


def _have_image(context: Context, release: Release) -> None:
    if context.runtime.image(release.image_id) is None:
        raise ConductorError(
            f"cannot use release {release.revision} of {release.service}: its image {release.image} is gone",
            f"docker pull {release.image}, or upgrade to a revision that can be pulled",
        )
