"""`conductor service start`."""

from pathlib import Path

import click

from conductor.commands.options import config_option, id_option, json_option, wait_option
from conductor.commands.service.action import run_on_service


@click.command("start")
@config_option
@id_option
@wait_option
@json_option
def command(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Start a stopped service, or the missing replicas of a running one."""
    from conductor.change.actions import start

    words = f"service start --id {service}"
    return run_on_service(config, words, service, start, wait_seconds=wait_seconds, as_json=as_json)
