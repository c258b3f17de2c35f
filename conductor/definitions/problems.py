"""A problem of a definition (file, line, key path, sentence), and the error that carries all problems of a file."""

from collections.abc import Iterable
from typing import NamedTuple

from conductor.errors import UsageError, first_of


class Problem(NamedTuple):
    """One thing to fix. `line` is 0 in a stored definition, which has no lines; `key` is empty for the whole file."""

    file: str
    line: int
    key: str
    sentence: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        key = "".join(letter if letter.isprintable() else "?" for letter in self.key)
        return f"{place}: {key}: {self.sentence}" if key else f"{place}: {self.sentence}"


class DefinitionsError(UsageError):
    """Definitions cannot be used; `problems` has all problems, sorted by file and line."""

    def __init__(self, what: str, problems: Iterable[Problem], hint: str = "") -> None:
        self.problems = in_order(problems)
        number = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(f"cannot use {what}: {number}", hint=hint, details=tuple(map(str, self.problems)))

    @property
    def summary(self) -> str:
        """The sentence with the first problems."""
        return f"{self.sentence}: {first_of(self.problems)}"


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems without duplicates, sorted by file and line."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is most likely a misspelling of, or None."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
