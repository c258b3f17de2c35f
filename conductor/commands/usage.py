"""The errors of a wrong command line, made from those of click: what is wrong, and what to write."""

import click

from conductor.commands.suggestions import unknown_option
from conductor.errors import UsageError


def usage_error(error: click.ClickException) -> UsageError:
    """Return the error to report."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return UsageError(error.format_message())
    path = context.command_path
    match error:
        case click.NoSuchOption():
            return unknown_option(error)
        case click.MissingParameter(param=click.Parameter() as param):
            return UsageError(f"cannot run {path}: {_name(param)} is missing", f"write {_usage(param, context)}")
        case click.BadParameter(param=click.Parameter() as param):
            name = _name(param) if isinstance(param, click.Option) else "the argument"
            return UsageError(f"cannot use {name}: {error.message.rstrip('.')}")
        case _:
            takes_id = any("--id" in param.opts for param in context.command.params)
            hint = "name the service with --id" if takes_id else f"{path} --help shows the usage"
            return UsageError(f"cannot run {path}: {_clause(error)}", hint)


def _name(param: click.Parameter) -> str:
    """Return an option as it is written, or the possible values of an argument."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return (
        " or ".join(map(str, param.type.choices)) if isinstance(param.type, click.Choice) else param.human_readable_name
    )


def _usage(param: click.Parameter, context: click.Context) -> str:
    return f"{_name(param)} {param.make_metavar(context)}" if isinstance(param, click.Option) else _name(param)


def _clause(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]
