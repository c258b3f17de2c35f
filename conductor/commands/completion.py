"""`conductor completion`: a script that makes the shell call Conductor for completions. click provides both."""

import click

from conductor.output.streams import write_stdout

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_CONDUCTOR_COMPLETE"  # set by the script when it calls Conductor; the name is click's


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Print a completion script for a shell.

    The script completes commands, options, service ids, revisions and topics. To install it, see "conductor help shell".
    """
    from click.shell_completion import get_completion_class

    if kind := get_completion_class(shell):
        script = kind(context.find_root().command, {}, "conductor", VARIABLE)
        write_stdout(script.source_template % script.source_vars())
