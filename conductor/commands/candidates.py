"""The completions of option values in a shell: service ids, revisions and topics.

They come from files, except the tags of local images: Docker must list these within `DOCKER_SECONDS`. A file that cannot be
read is skipped.
"""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor import DEFINITIONS, STATE_DIR
from conductor.errors import ConductorError

if TYPE_CHECKING:
    from conductor.definitions.load import Definitions
    from conductor.state.store import Store

DOCKER_SECONDS = 0.025  # so that the answer arrives within 100 ms of Python's start


def services(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of the defined and of the deployed services, without those already on the command line."""
    definitions, store = _host(ctx)
    given = ctx.params.get("ids") or ()
    return _matching([one for one in (*definitions.ids, *store.services()) if one not in given], incomplete)


def revisions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the revisions of the stored releases, and the tags of local images."""
    definitions, store = _host(ctx)
    chosen = _chosen(ctx)
    return _matching([*_stored(store, chosen), *_local(definitions, chosen)], incomplete)


def kept_revisions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the revisions to which a service can be rolled back, the newest first."""
    store, found = _host(ctx)[1], []
    for service in _chosen(ctx):
        with contextlib.suppress(ConductorError):
            found += [release.revision for release in store.wanted(service).kept]
    return _matching(found, incomplete)


def logged_revisions(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the revisions of the stored releases, and of the kept logs of removed replicas."""
    store, found = _host(ctx)[1], []
    for service in _chosen(ctx):
        found += _stored(store, (service,))
        for name in store.kept_logs(service):
            with contextlib.suppress(ConductorError):
                log = store.kept_log(service, name, with_lines=False)
                if log and log.kind == "service" and not any(one.startswith(log.revision) for one in found):
                    found.append(log.revision)  # which is cut in a log of an older version
    return _matching(found, incomplete)


def topics(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the topics of the manual."""
    from conductor.commands.help import pages

    return _matching(list(pages()), incomplete)


def _matching(found: list[str], incomplete: str) -> list[str]:
    return [one for one in dict.fromkeys(found) if one.startswith(incomplete)]


def _chosen(ctx: click.Context) -> tuple[str, ...]:
    service = ctx.params.get("service")
    return (service,) if service else tuple(ctx.params.get("ids") or ())


def _host(ctx: click.Context) -> "tuple[Definitions, Store]":
    """Return the definitions, or what is known of the last valid ones, and the state directory."""
    from conductor.definitions.host import Host
    from conductor.definitions.load import Definitions, load
    from conductor.state.store import Store

    path = Path(ctx.params.get("config") or DEFINITIONS)
    try:
        definitions = load(path)
    except ConductorError:
        from conductor.state.last_definitions import restored_definitions

        state_dir = Path(os.environ.get("CONDUCTOR_STATE_DIR") or STATE_DIR)
        definitions = restored_definitions(path, state_dir) or Definitions(
            path, Host(state_dir=str(state_dir)), (), {}, (), {}
        )
    return definitions, Store(Path(definitions.host.state_dir))


def _stored(store: "Store", chosen: tuple[str, ...]) -> list[str]:
    found = []
    for service in chosen:
        with contextlib.suppress(ConductorError):
            wanted = store.wanted(service)
            found += [release.revision for release in (wanted.release, *wanted.kept) if release]
    return found


def _local(definitions: "Definitions", chosen: tuple[str, ...]) -> list[str]:
    images = {definitions.services[one].service.image for one in chosen if one in definitions.services}
    if not images:
        return []
    from conductor.runtime.docker.attach import TaskRuntime

    found: list[str] = []
    with contextlib.suppress(ConductorError):
        docker = TaskRuntime(definitions.host.docker, definitions.host.instance)
        for image in images:
            found += docker.tags(image, DOCKER_SECONDS / len(images))
    return found
