"""`conductor supervise` without a subcommand: keep services running."""

from pathlib import Path

import click

from conductor.commands.options import config_option


@click.group("supervise", invoke_without_command=True)
@config_option
@click.option("--once", is_flag=True, help="Run one pass and exit.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    envvar="CONDUCTOR_STATE_DIR",
    default="/var/lib/conductor",
    show_default=True,
    show_envvar=True,
    help="The directory of the last valid host section, which is used if the definitions file is broken at the start. Needed "
    "only if host.state_dir differs from the default.",
)
@click.option("--print-unit", is_flag=True, help="Print a systemd unit file and exit.")
@click.pass_context
def group(context: click.Context, *, config: Path, once: bool, state_dir: Path, print_unit: bool) -> int:
    """Replace failed containers, and keep the wanted number running."""
    context.ensure_object(dict)["config"] = config
    if context.invoked_subcommand is not None:
        return 0
    if print_unit:
        from importlib.resources import files

        from conductor.output.streams import write_stdout

        write_stdout(files("conductor").joinpath("templates/conductor-supervise.service").read_text(), end="")
        return 0
    from conductor.commands.context import make_context
    from conductor.supervise.main import supervise

    return supervise(config, state_dir, make_context, once=once)
