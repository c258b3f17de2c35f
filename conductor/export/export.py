"""What the three exports share: their input and result, notes on what is not exported or differs, unique names, YAML (pure)."""

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from conductor.definitions.explain import fields_of
from conductor.definitions.model import EnvFile, Health, Service
from conductor.definitions.rules import health_kinds

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./:-]+")  # no reader of YAML takes such a text for a number
PLACEHOLDER = "REVISION"  # the tag of an image whose revision is unknown


class Source(NamedTuple):
    """A service to export, with the revision and the crontab of its release; both are empty without a release."""

    id: str
    service: Service
    revision: str = ""
    crontab: str = ""

    @property
    def image(self) -> str:
        """The image with a tag."""
        return f"{self.service.image}:{self.revision or PLACEHOLDER}"

    @property
    def env_file(self) -> str | None:
        """The path of the env file."""
        written = self.service.env_file
        return written.path if isinstance(written, EnvFile) else written

    @property
    def check(self) -> tuple[str, Health] | None:
        """The kind of health check, and the check; None without one."""
        health = self.service.health
        return (health_kinds(health)[0], health) if health else None


class Export(NamedTuple):
    """The texts of the files by name, and what is not exported or differs."""

    files: dict[str, str]
    notes: tuple[str, ...]


class Notes:
    """What is not exported or differs. A note that concerns several services is one line."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, source: Source, key: str, sentence: str) -> None:
        """Add a note on a key of a service."""
        self._found.setdefault((key, sentence), []).append(source.id)

    def add_set(self, source: Source, sentences: Mapping[str, str]) -> None:
        """Add a note for each of these keys, such as `stop.wait`, that differs from its built-in default."""
        for key, sentence in sentences.items():
            if _is_set(source.service, key):
                self.add(source, key, sentence)
        if not source.revision:
            self.add(
                source,
                "image",
                f"the service has no release on this host: replace the tag {PLACEHOLDER}, or add --revision",
            )

    def lines(self, *general: str, only: str | None = None) -> tuple[str, ...]:
        """Return the notes of the format itself, and those on keys: of all services, or of `only` one."""
        return (
            *general,
            *(
                f"{key} ({', '.join(ids)}): {sentence}" if only is None else f"{key}: {sentence}"
                for (key, sentence), ids in self._found.items()
                if only is None or only in ids
            ),
        )


class Names:
    """Gives each key a name of its own: the wanted one, or that with a number."""

    def __init__(self, separator: str = "-") -> None:
        self._separator = separator
        self._names: dict[Hashable, str] = {}

    def name(self, key: Hashable, wanted: str) -> str:
        """Return the name of a key."""
        taken = self._names.values()
        number = 2
        name = wanted
        while key not in self._names and name in taken:
            name, number = f"{wanted}{self._separator}{number}", number + 1
        return self._names.setdefault(key, name)


def checks_inside(tool: str, key: str) -> dict[str, str]:
    """Return the notes on health checks of a tool that only runs commands inside the container."""
    inside = f"{tool} runs checks inside the container: write a {key} that uses a program in the image"
    return {
        "health.path": inside,
        "health.tcp": inside,
        "health.none": f"{tool} does not wait until a container has run for some time",
        "health.successes": "one success is enough",
        "health.gate_interval": "the interval for running containers is used",
    }


def heading(tool: str, notes: Iterable[str], commands: Iterable[str]) -> str:
    """Return the comment at the top of an export. `commands` create what the export refers to."""
    text = [f"Exported by: conductor config export --to {tool}"]
    if listed := list(notes):
        text += ["", "Not exported, or exported with differences:", *(f"- {note}" for note in listed)]
    if first := list(dict.fromkeys(commands)):
        text += ["", "Run this first, in bash:", *first]
    return "".join(f"# {line}".rstrip() + "\n" for line in text)


def without_empty(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {
        name: value for name, value in fields.items() if not (value is None or value is False or value in ((), [], {}))
    }


def as_yaml(document: object) -> str:
    """Return the document as YAML that every version of YAML reads in the same way."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Without references, and with quotes around each text that could be another type."""

        def ignore_aliases(self, _data: object) -> bool:
            return True

    Dumper.add_representer(
        str,
        lambda dumper, text: dumper.represent_scalar(
            "tag:yaml.org,2002:str", text, style=None if _PLAIN.fullmatch(text) else '"'
        ),
    )
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)


def _is_set(value: Any, key: str) -> bool:
    field = None
    for name in key.split("."):
        if value is None:
            return False
        field = fields_of(value.__class__)[name]
        value = getattr(value, field.name)
    if field is None or field.default is not msgspec.NODEFAULT:
        return field is not None and value != field.default
    return field.default_factory is msgspec.NODEFAULT or value != field.default_factory()
