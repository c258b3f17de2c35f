"""What cron and a shell make of a command's text, and how to write words that come through both unchanged (pure)."""

import re

# Cron looks at % and \ only, before any shell does: a state machine, in which a \ pairs with the % or \ after it.
_HEAD = re.compile(r"(?:[^%\\]|\\[%\\]?)*", re.DOTALL)
_PAIR = re.compile(r"\\([%\\])")

# One simple command whose words mean themselves to every shell. Inside quotes all but the expansions is literal.
_PLAIN = r"[A-Za-z0-9_./:,@%+=-]"
_WORD = rf"(?:{_PLAIN}|'[^']*'|\"(?:[^\"\\$`]|\\.)*\"|\\.)+"
_LITERAL = re.compile(rf"([A-Za-z0-9_./][A-Za-z0-9_./:,@%+-]*)(?:[ \t]+{_WORD})*[ \t]*", re.DOTALL)

# First words that a shell does not look up as a program: builtins and keywords of dash, bash and busybox's ash. Some
# are programs too (echo, test, kill), but not the same ones.
_NOT_PROGRAMS = """. : alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare
dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help
history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set
shift shopt source suspend test then time times trap true type typeset ulimit umask unalias unset until wait
while"""

_SHOWN_LETTERS = 60


def split(command: str) -> tuple[str, str]:
    """A command as written: the part cron gives to the shell, and the rest from the `%` that ends it (or empty)."""
    end = _HEAD.match(command).end()  # type: ignore[union-attr]  # it matches the empty text
    return command[:end], command[end:]


def unescaped(head: str) -> str:
    """What the shell gets of the first part of `split`."""
    return _PAIR.sub(r"\1", head)


def escaped(text: str) -> str:
    """The inverse: how to write in a crontab what a shell shall get."""
    return re.sub(r"[%\\]", r"\\\g<0>", text)


def quoted(text: str) -> str:
    """One literal word for any POSIX shell. Cron's rules and this one commute: a crontab's text may be quoted as it is
    written, since neither `'` nor the `\\'` put in pairs with a `\\` or `%` beside it.
    """
    return "'" + text.replace("'", "'\\''") + "'"


def word(text: str) -> str:
    """`text` as one word of a command in a crontab, with quotes only where they are needed."""
    return escaped(text if re.fullmatch(f"{_PLAIN}+", text) else quoted(text))


def shown(text: str) -> str:
    """A text for people: its start, with nothing that a terminal would act on."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable if len(printable) <= _SHOWN_LETTERS else printable[: _SHOWN_LETTERS - 1] + "…"


def literal(text: str) -> bool:
    """Whether a shell would do nothing with `text` but start the program named by its first word with these words."""
    found = _LITERAL.fullmatch(text)
    return found is not None and found[1] not in _NOT_PROGRAMS.split()
