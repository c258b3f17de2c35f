"""What is wrong with a definition, said once: file, line, key path and a sentence with what to write instead."""

from collections.abc import Iterable
from typing import NamedTuple

from conductor.errors import UsageError


class Problem(NamedTuple):
    """One thing to mend. `line` 0 is a place without lines (a stored definition), an empty `key` the file itself."""

    file: str
    line: int
    key: str
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = "".join(letter if letter.isprintable() else "?" for letter in self.key)
        return f"{place}: {key}: {self.sentence}" if key else f"{place}: {self.sentence}"


class DefinitionsError(UsageError):
    """Definitions with problems: all of them, in the order of the file."""

    def __init__(self, what: str, problems: Iterable[Problem]) -> None:
        self.problems = in_order(problems)
        number = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"cannot use {what}: {number}", details=tuple(map(str, self.problems)))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each once, by line."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
