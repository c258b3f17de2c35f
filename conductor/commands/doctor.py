"""`conductor doctor`: check this host; report what is wrong, why it matters, and how to fix it."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, json_option, state_dir_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conductor.definitions.host import Host
    from conductor.doctor.examination import Room
    from conductor.plan.node import Node


@click.command("doctor")
@config_option
@state_dir_option
@json_option
def command(*, config: Path, state_dir: Path, as_json: bool) -> int:
    """Check this host and its services.

    Each finding states what is wrong, why it matters, and how to fix it. This command changes nothing. The exit code is 1 if there are
    errors, 4 if there are only warnings, and 0 otherwise.
    """
    import contextlib
    import os

    from conductor import systemctl
    from conductor.cancellation import SignalCancellation
    from conductor.commands.context import make_context
    from conductor.definitions.host import Host
    from conductor.definitions.load import Definitions, load
    from conductor.doctor.examination import Examination
    from conductor.doctor.examine import examine
    from conductor.errors import ConductorError
    from conductor.output.printers import NoOutput
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document
    from conductor.state.crontabs import is_cron_running
    from conductor.state.last_definitions import restored_definitions

    unusable, restored = None, None
    try:
        definitions = load(config)
    except ConductorError as error:
        unusable = error
        with contextlib.suppress(ConductorError):  # a damaged file, which a check reports
            restored = restored_definitions(config, state_dir)
        definitions = restored or Definitions(config, Host(), (), {}, (), {})
    report = examine(
        Examination(
            definitions=definitions,
            context=make_context(definitions.host, config, "doctor", NoOutput(), SignalCancellation()),
            unit=systemctl.unit,
            is_root=os.geteuid() == 0,
            is_cron_running=is_cron_running,
            room=_room,
            unusable=unusable,
            nodes=functools.partial(_nodes, definitions.host),
        )
    )
    write_stdout(as_document(report.document()) if as_json else report.describe())
    return report.exit_code


def _nodes(host: "Host") -> "Sequence[Node]":
    if host.fleet is None:
        return ()
    from conductor.runtime.swarm.fleet import fleet

    return fleet(host.docker, host.instance, "doctor").members()


def _room(path: str) -> "Room | None":
    import shutil

    from conductor.doctor.examination import Room

    try:
        return Room(*shutil.disk_usage(path))
    except OSError:
        return None
