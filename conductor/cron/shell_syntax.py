"""Finds unclosed quotes and background commands in the command of a job (pure).

This is not a parser of the whole shell language: it finds only what cron's `%` can break, and what the exit of the
container would kill.
"""

import re
from collections.abc import Collection, Iterator
from posixpath import basename
from typing import NamedTuple

_BASH_LIKE = frozenset({"bash", "ksh", "zsh"})
_POSIX = frozenset({"sh", "dash", "ash"}) | _BASH_LIKE
_OPENERS = {
    "'": "single quotes", '"': "double quotes", "$'": "quotes", "`": "backquotes", "$(": "$(", "${": "${", "(": "(",
}  # fmt: skip
_CLOSERS = {"'": "'", '"': '"', "$'": "'", "`": "`", "$(": ")", "${": "}", "(": ")"}
# For each construct in which a shell reads no commands: the constructs that can begin inside it.
_OPENERS_INSIDE = {"'": (), "$'": (), '"': ("`", "$(", "${"), "${": ("'", '"', "`", "$(", "${")}
# `$$` is a parameter, so a brace after it opens nothing.
_PART = re.compile(r"\\.|\$\$|\$[({]|[\w./=:,+-]+|.", re.DOTALL)
_PART_OF_QUOTE = re.compile(r"[^']+|'")
_NESTED = re.compile(
    r"(?:^|[\s;&|(/])(?P<shell>sh|dash|ash|bash|ksh|zsh)(?:\s+-[A-Za-z-]+)*\s+-[a-z]*c\s+"
    r"""(?:'(?P<single>(?:[^']|'\\'')*)'|"(?P<double>(?:[^"\\]|\\.)*)")(?=[\s;&|)<>]|$)"""
)
_AND = r"(?<![&|<>])&(?![&>])"  # one & that is not part of && |& <& >& &>
_BACKGROUND = re.compile(_AND)
_BACKGROUND_AT_END = re.compile(_AND + r"\s*$")
_UNFINISHED = re.compile(r"(\|\||&&|\|)\s*$")
_AT_COMMAND = r"(?:^|[;&|({]|\b(?:then|do|else|if|while|until))\s*"
_COMPOUND = {"if": "fi", "case": "esac", "do": "done", "{": "}"}


class Layer(NamedTuple):
    """One command line that a shell reads: of the job, or the text of a `sh -c` in it.

    In `plain`, quoted texts, substitutions, escapes and comments are replaced by `_`. `opened` is the construct that
    is left open, if any.
    """

    shell: str
    plain: str
    opened: str | None


def layers(text: str, shell: str) -> Iterator[Layer]:
    """Yield the layers of a command, outermost first; none for a shell with another language, such as fish."""
    name = basename(shell)
    if name not in _POSIX:
        return
    yield _layer(text, name)
    for found in _NESTED.finditer(text):
        if found["single"] is not None:
            inner = found["single"].replace("'\\''", "'")
        else:
            inner = re.sub(r"\\([\"\\$`])", r"\1", found["double"])
        yield from layers(inner, found["shell"])


def problem(text: str, shell: str, *, cut: bool) -> str | None:
    """Return why the command cannot work as a job, with what to write instead. `cut`: a `%` ends the command."""
    for layer in layers(text, shell):
        if unfinished := _unfinished(layer, cut=cut):
            return (
                rf"cron ends the command at the first %, {unfinished}; write \% for a percent sign"
                if cut
                else f"the shell fails, because the command ends {unfinished}; complete the command"
            )
        if layer.shell not in _BASH_LIKE and "&>" in layer.plain:
            return f"{layer.shell} starts the command before &> in the background; write > FILE 2>&1"
        if layer.shell not in _BASH_LIKE and "|&" in layer.plain:
            return f"{layer.shell} does not support |&; write 2>&1 |"
        if _BACKGROUND_AT_END.search(layer.plain):
            return (
                "the container exits when its command does, which kills the background command; remove the & at the end"
            )
    return None


def in_background(command: Collection[Layer]) -> bool:
    """Return whether the command starts another one in the background and does not wait for it."""
    return any(_BACKGROUND.search(layer.plain) and not re.search(r"\bwait\b", layer.plain) for layer in command)


def runs(names: str, command: Collection[Layer]) -> bool:
    """Return whether the command runs a program of one of the names, which are alternatives of a regular expression."""
    begin = re.compile(rf"{_AT_COMMAND}(?:(?:exec|env|nice|time|\w+=\S*)\s+)*(?:/(?:\S*/)?)?(?:{names})(?=\s|$)")
    return any(begin.search(layer.plain) for layer in command)


def _unfinished(layer: Layer, *, cut: bool) -> str | None:
    """Return why the command is incomplete, as the rest of a sentence; None for a complete command."""
    if layer.opened:
        return f"inside {_OPENERS[layer.opened]}"
    if found := _UNFINISHED.search(layer.plain):
        return f"after {found[1]}"
    if cut:
        for word, end in _COMPOUND.items():
            begun = len(re.findall(rf"{_AT_COMMAND}{re.escape(word)}(?=\s)", layer.plain))
            if begun > len(re.findall(rf"[;&]\s*{re.escape(end)}(?!\w)", layer.plain)):
                return f"before {end}"
    return None


def _layer(text: str, shell: str) -> Layer:
    opened: list[str] = []
    plain: list[str] = []
    at = 0
    while at < len(text):
        outside = all(one == "(" for one in opened)
        pattern = _PART_OF_QUOTE if opened[-1:] == ["'"] else _PART
        part = pattern.match(text, at)[0]  # type: ignore[index]  # it matches anything
        before = text[at - 1] if at else " "
        if part == "#" and before in " \t;&|(" and _context(opened) not in _OPENERS_INSIDE:
            break
        _open_or_close(opened, part, ansi_quote=before == "$" and shell in _BASH_LIKE)
        outside = outside and all(one == "(" for one in opened) and (len(part) == 1 or part[0] not in "\\$")
        plain.append(part if outside else "_" * len(part))
        at += len(part)
    return Layer(shell, "".join(plain), opened[0] if opened else None)


def _open_or_close(opened: list[str], part: str, *, ansi_quote: bool) -> None:
    """Add what the part opens to `opened`, or remove what it closes. A `)` that closes nothing ends a case pattern."""
    inside = _context(opened)
    literal = part == "'" and inside == "${" and '"' in opened
    if part == _CLOSERS.get(inside):
        opened.pop()
    elif part in _OPENERS_INSIDE.get(inside, _OPENERS) and not literal:
        opened.append("$'" if part == "'" and ansi_quote else part)


def _context(opened: list[str]) -> str:
    return opened[-1] if opened else ""
