"""`conductor service stop`."""

from pathlib import Path

import click

from conductor.commands.options import config_option, id_option, json_option, wait_option
from conductor.commands.service.action import run_on_service


@click.command("stop")
@config_option
@id_option
@click.option("--reason", default="", metavar="TEXT", help="Shown by status, and when an upgrade is refused.")
@wait_option
@json_option
def command(*, config: Path, service: str, reason: str, wait_seconds: float, as_json: bool) -> int:
    """Drain and stop a service until it is started again.

    nginx answers 503 for the service. The service stays stopped after a reboot.
    """
    from conductor.change.actions import stop

    words = f"service stop --id {service}"
    return run_on_service(config, words, service, stop(reason), wait_seconds=wait_seconds, as_json=as_json)
