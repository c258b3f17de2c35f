"""Remove the values of secrets from text that an app or its image produced (pure)."""

import json
import re
from collections.abc import Callable, Iterable

from conductor.definitions.scalars import Secret

_MIN_LENGTH = 4  # characters; a shorter value occurs by chance in most texts, so it is not replaced


def redactor(values: Iterable[object]) -> Callable[[str], str]:
    """Return a function that replaces the secrets among `values` in a text.

    It finds a secret as a whole, each line of a secret with several lines, and both as JSON or Python quote them, even if
    the text was quoted twice.
    """
    forms = _forms(values)
    if not forms:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub("[secret]", text)


def without_cut_secret(text: str, values: Iterable[object]) -> str:
    """Return `text`, which is the end of a longer output, without a partial secret at its start."""
    ends = (n for form in _forms(values) for n in range(len(form) - 1, 0, -1) if text.startswith(form[-n:]))
    return text[max(ends, default=0) :]


def _forms(values: Iterable[object]) -> set[str]:
    parts = {p for v in values if isinstance(v, Secret) for p in (v.reveal(), *v.reveal().splitlines())}
    forms = {part for part in parts if len(part.strip()) >= _MIN_LENGTH}
    for _ in range(2):
        forms |= {written for form in forms for written in _quoted(form)}
    return forms


def _quoted(text: str) -> tuple[str, ...]:
    """Return the text as JSON and Python write it, without the outer quotes.

    `repr` escapes an apostrophe only in a text that has both kinds of quote, so both of its forms are returned.
    """
    both = repr("'\"" + text)[4:-1]
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], both, both.replace("\\'", "'")
