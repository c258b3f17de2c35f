"""`conductor service scale`."""

import click

from conductor.commands.options import WholeNumber, id_option
from conductor.commands.service.action import ActionOptions, action_options, run_on_services
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError


@click.command("scale")
@id_option
@click.option(
    "--count",
    cls=CommandLineOnly,
    type=WholeNumber(0, 1000),
    metavar="N",
    help="Run N replicas instead of the count in the definitions file.",
)
@click.option("--reset", cls=CommandLineOnly, is_flag=True, help="Return to the count in the definitions file.")
@action_options
def command(common: ActionOptions, *, service: str, count: int | None, reset: bool) -> int:
    """Change the number of replicas of the live release."""
    from conductor.change.actions import scale

    if (count is None) != reset:
        raise UsageError(
            f"cannot scale {service}: exactly one of --count and --reset is required", "add --count N or --reset"
        )
    return run_on_services(common, "scale", [service], scale(count), "--reset" if reset else f"--count {count}")
