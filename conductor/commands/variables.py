"""The environment variables of options: `CONDUCTOR_`, the words of the command, the option."""

from collections.abc import Sequence

import click

from conductor.errors import UsageError


class CommandLineOnly(click.Option):
    """An option that decides what a command does, or to which service.

    A variable that was forgotten in a session would change what a deploy does without a trace in the command line. The
    variable of such an option is therefore refused, unless the option itself is given.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Refuse the variable."""
        if super().resolve_envvar_value(ctx) is not None and not ctx.resilient_parsing:
            raise UsageError(
                f"cannot use the variable {self.envvar}: {_written(self)} is accepted only on the command line",
                f"add {_written(self)} on the command line, or unset {self.envvar}",
            )
        return None


def name_variables(command: click.Command, path: Sequence[str]) -> None:
    """Give each option of a command, and of its subcommands, its variable. Those with a shared one keep it."""
    for option in command.params:
        if isinstance(option, click.Option) and option.envvar is None:
            option.envvar = variable(path, option)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            name_variables(inner, (*path, name))


def variable(path: Sequence[str], option: click.Option) -> str:
    """Return the name of a variable, for example `CONDUCTOR_SERVICE_UPGRADE_WAIT`."""
    return "_".join(("CONDUCTOR", *path, _written(option).lstrip("-"))).replace("-", "_").upper()


def _written(option: click.Option) -> str:
    return max(option.opts, key=len)
