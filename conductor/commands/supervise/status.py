"""`conductor supervise status`: whether supervise runs, and what it does next."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.options import config_option, json_option

if TYPE_CHECKING:
    from conductor.state.supervisor_status import SupervisorStatus


@click.command("status")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> int:
    """Show whether supervise is running and what it will do next."""
    from conductor.commands.action import query_context
    from conductor.output.streams import write_stdout
    from conductor.output.tables import as_document
    from conductor.state.supervisor_status import read_status

    _, context = query_context(config, "supervise status")
    status = read_status(context.host.runtime_dir, context.locks)
    write_stdout(as_document(status) if as_json else _text(status))
    return 0 if status else 1


def _text(status: "SupervisorStatus | None") -> str:
    from conductor.plan.route import TrafficState
    from conductor.state.supervisor_status import NOT_RUNNING, START_SUPERVISE, traffic_problem
    from conductor.times import time_text

    if status is None:
        return f"{NOT_RUNNING}: failed containers will not be replaced\n  {START_SUPERVISE}"
    lines = [f"process {status.pid}, running since {time_text(status.since)}: {status.text}"]
    lines += [f"  {status.problem}"] if status.problem else []
    lines += (
        [f"  {traffic_problem(status.traffic) or traffic_problem(TrafficState.DOWN)}"] if status.traffic_down else []
    )
    lines += [f"  {service}: {one}" for service, one in status.services.items()]
    return "\n".join(lines)
