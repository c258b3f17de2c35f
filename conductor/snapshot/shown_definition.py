"""The definition of a release as a page may show it: without values that may be secrets, whatever the operator wrote (pure)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conductor.definitions.environment import names_secret

HIDDEN = "(not shown)"
_HIDDEN = {"env", "headers", "labels", "options"}  # any text in these mappings may be a secret


def shown(written: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition as written, with references to files, but without texts that may be secrets."""
    return {key: _shown(key, value) for key, value in written.items()}


def _shown(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return (
            {name: HIDDEN if isinstance(text, str) else text for name, text in value.items()}
            if key in _HIDDEN
            else shown(value)
        )
    if isinstance(value, list):
        return list(_words(value))
    return HIDDEN if key == "webhook" else value


def _words(words: Sequence[Any]) -> Iterator[Any]:
    """Yield the words of a list. Of `--token=VALUE`, `TOKEN=VALUE` and `--token VALUE`, the value is hidden."""
    is_value = False
    for word in words:
        if not isinstance(word, str):
            yield _shown("", word)
            continue
        name, equals, _ = word.partition("=")
        secret = names_secret(name)
        yield HIDDEN if is_value else f"{name}={HIDDEN}" if equals and secret else word
        is_value = secret and not equals and word.startswith("-")
