"""Takes the values of secrets out of other people's words: an app may well log what it was given (pure)."""

import json
import re
from collections.abc import Callable, Iterable

from conductor.definitions.scalars import Secret

SHORTEST = 4  # what is shorter is found in any text


def redactor(values: Iterable[object]) -> Callable[[str], str]:
    """A function that replaces the secrets among `values`: whole, each line of one that has several, and as JSON or
    Python would write them, once or one inside the other."""
    forms = _forms(values)
    if not forms:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return lambda text: pattern.sub("[secret]", text)


def without_cut_secret(text: str, values: Iterable[object]) -> str:
    """`text` is the end of what was said: without the rest of a secret that it may begin with."""
    ends = (n for form in _forms(values) for n in range(len(form) - 1, 0, -1) if text.startswith(form[-n:]))
    return text[max(ends, default=0) :]


def _forms(values: Iterable[object]) -> set[str]:
    parts = {p for v in values if isinstance(v, Secret) for p in (v.reveal(), *v.reveal().splitlines())}
    forms = {part for part in parts if len(part.strip()) >= SHORTEST}
    for _ in range(2):
        forms |= {written for form in forms for written in _quoted(form)}
    return forms


def _quoted(text: str) -> tuple[str, ...]:
    """Without the outer quotes; Python escapes an apostrophe only where both kinds of quote occur."""
    both = repr("'\"" + text)[4:-1]
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], both, both.replace("\\'", "'")
