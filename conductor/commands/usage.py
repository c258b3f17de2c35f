"""The errors of a wrong command line, made from those of click: what is wrong, and how to correct it."""

import re

import click

from conductor.commands.suggestions import unknown_option
from conductor.errors import UsageError


def usage_error(error: click.ClickException) -> UsageError:
    """Return the error to report."""
    if isinstance(error, click.BadOptionUsage):  # a missing value, or one that a flag does not take
        cause = re.sub(r"^Option '.*?' ", "it ", error.message.rstrip("."))
        return UsageError(f"cannot use {error.option_name}: {cause}")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return UsageError(error.format_message())
    path = context.command_path
    match error:
        case click.NoSuchOption():
            return unknown_option(error)
        case click.MissingParameter(param=click.Parameter() as param):
            return UsageError(f"cannot run {path}: {_name(param)} is missing", f"add {_usage(param, context)}")
        case click.BadParameter(param=click.Parameter() as param):
            what = f"cannot use {_name(param)}" if isinstance(param, click.Option) else "invalid argument"
            return UsageError(f"{what}: {error.message.rstrip('.')}")
        case _:
            ids = [param.name for param in context.command.params if "--id" in param.opts]
            lacks_id = any(not context.params.get(name or "") for name in ids)
            hint = "name the service with --id" if lacks_id else f"{path} --help shows the usage"
            return UsageError(f"cannot run {path}: {_clause(error)}", hint)


def _name(param: click.Parameter) -> str:
    """Return an option as it is written, or the possible values of an argument."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    if not isinstance(param.type, click.Choice):
        return param.human_readable_name
    *others, last = map(str, param.type.choices)
    return f"{', '.join(others)} or {last}"


def _usage(param: click.Parameter, context: click.Context) -> str:
    return f"{_name(param)} {param.make_metavar(context)}" if isinstance(param, click.Option) else _name(param)


def _clause(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    text = re.sub(r"^Got (unexpected)(?: extra)? (arguments?) \((.*)\)$", r'\1 \2 "\3"', text, flags=re.DOTALL)
    return text[:1].lower() + text[1:]
