"""Suggestions for unknown options and commands."""

from collections.abc import Iterable

import click

from conductor.errors import UsageError

# Words that mean the same to people who use similar programs. Conductor has at least one word of each group.
SYNONYMS = (
    {"revision", "release", "to", "tag", "version"},
    {"tail", "limit", "lines", "n"},
    {"plan", "dry-run"},
    {"id", "service", "name"},
    {"count", "replicas", "scale"},
    {"reason", "message"},
    {"follow", "watch"},
    {"upgrade", "deploy", "update"},
    {"status", "ps", "top"},
    {"list", "ls"},
    {"start", "up"},
    {"stop", "down", "kill"},
    {"run", "exec"},
)


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that means the same as `word`, or of which it is most likely a misspelling, or None.

    A single letter is no misspelling: -d is similar to --id, but was probably meant as another program's option.
    """
    from conductor.definitions.problems import nearest

    words = list(known)
    same = set().union(*(group for group in SYNONYMS if word in group))
    found = next((one for one in words if one in same), None)
    return found or (nearest(word, words) if len(word) > 1 else None)


def unknown_option(error: click.NoSuchOption) -> UsageError:
    """Return the error for an unknown option, with the option, or the word of an argument, that was probably meant."""
    context = error.ctx
    if context is None:
        return UsageError(error.format_message())
    written: dict[str, str] = {}
    for param in context.command.get_params(context):
        if isinstance(param, click.Option):
            written |= {name.removeprefix("--"): name for name in param.opts if name.startswith("--")}
        elif isinstance(param.type, click.Choice):
            written |= {str(choice): str(choice) for choice in param.type.choices}
    found = suggestion(error.option_name.lstrip("-"), written)
    hint = f"did you mean {written[found]}?" if found else f"{context.command_path} --help lists the options"
    return UsageError(f"cannot use {error.option_name}: {context.command_path} has no such option", hint)


class SuggestingGroup(click.Group):
    """A group that suggests a command for an unknown one."""

    def suggested(self, ctx: click.Context, name: str) -> list[str]:
        """Return the commands that were probably meant by `name`, without the words before this group."""
        return list(filter(None, [suggestion(name, self.list_commands(ctx))]))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command, or raise an error with a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            words = [f"{ctx.command_path} {one}" for one in self.suggested(ctx, name)]
            hint = f"did you mean {' or '.join(words)}?" if words else f"{ctx.command_path} --help lists all commands"
            raise UsageError(f'unknown command "{name}"', hint)
        return super().resolve_command(ctx, args)
