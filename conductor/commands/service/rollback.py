"""`conductor service rollback`."""

import click

from conductor.commands import candidates
from conductor.commands.options import ids_option
from conductor.commands.service.action import ActionOptions, action_options, run_on_services
from conductor.commands.variables import CommandLineOnly


@click.command("rollback")
@ids_option
@click.option(
    "--to", "revision", cls=CommandLineOnly, metavar="REV", shell_complete=candidates.kept_revisions,
    help="A retained revision. Default: the release before the live one; a second rollback goes further back.",
)  # fmt: skip
@action_options
def command(common: ActionOptions, *, ids: tuple[str, ...], revision: str | None) -> int:
    """Return to a retained release.

    The release runs with its own definition and image, but with the current count. The image is pulled only if it was removed
    from the host.
    """
    from conductor.change.actions import rollback

    return run_on_services(common, "rollback", ids, rollback(revision), f"--to {revision}" if revision else "")
