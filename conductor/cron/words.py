"""How cron and a shell read the text of a command, and how to quote a word so that both leave it unchanged (pure)."""

import re

DEFAULT_SHELL = "/bin/sh"

# Cron interprets only % and \, before the shell reads the command: a \ escapes the % or \ that follows it.
_HEAD = re.compile(r"(?:[^%\\]|\\[%\\]?)*", re.DOTALL)
_PAIR = re.compile(r"\\([%\\])")

# A simple command whose words every shell takes literally. Inside quotes, everything but an expansion is literal.
_PLAIN = r"[A-Za-z0-9_./:,@%+=-]"
_WORD = rf"(?:{_PLAIN}|'[^']*'|\"(?:[^\"\\$`]|\\.)*\"|\\.)+"
_LITERAL = re.compile(rf"([A-Za-z0-9_./][A-Za-z0-9_./:,@%+-]*)(?:[ \t]+{_WORD})*[ \t]*", re.DOTALL)

# Builtins and keywords of dash, bash and busybox's ash: a shell does not start a program of this name. Some also exist
# as programs (echo, test, kill), but behave differently.
_NOT_PROGRAMS = """. : alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare
dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help
history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set
shift shopt source suspend test then time times trap true type typeset ulimit umask unalias unset until wait
while"""

_EXCERPT_LENGTH = 60


def split_input(command: str) -> tuple[str, str]:
    """Split a command as written into the part for the shell and its standard input, which starts with a `%`."""
    end = _HEAD.match(command).end()  # type: ignore[union-attr]  # the pattern also matches an empty text
    return command[:end], command[end:]


def unescape(head: str) -> str:
    """Return the first part of `split_input` as cron passes it to the shell."""
    return _PAIR.sub(r"\1", head)


def escape(text: str) -> str:
    """Return how to write `text` in a crontab so that cron passes it to the shell: the inverse of `unescape`."""
    return re.sub(r"[%\\]", r"\\\g<0>", text)


def shell_quote(text: str) -> str:
    """Return `text` as one literal word for any POSIX shell.

    The text of a crontab can be quoted before or after cron's unescaping, with the same result: the added `'` and
    `\\'` never form an escape together with a `\\` or `%` next to them.
    """
    return "'" + text.replace("'", "'\\''") + "'"


def crontab_word(text: str) -> str:
    """Return `text` as one literal word of a command in a crontab, quoted only if necessary."""
    return escape(text if re.fullmatch(f"{_PLAIN}+", text) else shell_quote(text))


def excerpt(text: str) -> str:
    """Return the start of a text for a message, without control characters."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable if len(printable) <= _EXCERPT_LENGTH else printable[: _EXCERPT_LENGTH - 1] + "…"


def is_literal(text: str) -> bool:
    """Return whether a shell would only start the program named by the first word, with the other words unchanged."""
    found = _LITERAL.fullmatch(text)
    return found is not None and found[1] not in _NOT_PROGRAMS.split()
