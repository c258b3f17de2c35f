"""The files nginx includes, as text (pure but for templates): upstreams, server blocks, Conductor's own servers.

The generation is a digest of all files of the include directory, so equal bytes are an equal generation and no reload.
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import jinja2
import msgspec

from conductor.definitions.model import Definition, Host
from conductor.errors import UsageError

OWN = "_conductor.conf"  # no service id starts with "_"
STAMP = "# Written by Conductor; changes are overwritten.\n"


class Route(msgspec.Struct, frozen=True):
    """One service as nginx shall see it: with no address it answers 503."""

    definition: Definition
    addresses: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Its file in the include directory."""
        return f"{self.definition.id}.conf"


class Former(msgspec.Struct, frozen=True):
    """A file as it was; None: it was not there."""

    file_name: str
    text: str | None


def addresses_in(text: str | None) -> tuple[str, ...]:
    """The addresses that a file of Conductor's sends requests to."""
    return tuple(re.findall(r"^ +server (\d[\d.]*:\d+) ", text or "", re.MULTILINE))


@functools.cache
def _templates() -> jinja2.Environment:
    """One for all: `supervise` renders again and again, and compiled templates take room."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("conductor"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (nginx text, not HTML; the definitions refuse what nginx would misread)
    )


class Renderer:
    """Renders for one host; `runtime` is `host.runtime_dir`/nginx."""

    def __init__(self, host: Host) -> None:
        self._include_dir = host.nginx.include_dir
        self.runtime = Path(host.runtime_dir) / "nginx"
        self.flag = self.runtime / "announce"
        self.status_socket = self.runtime / "private" / "status.sock"
        self.unavailable = self.runtime / "unavailable.sock"
        self._templates = _templates()

    def candidate(self, present: Mapping[str, str], to: tuple[Route | Former, ...]) -> dict[str, str]:
        """Every file of the include directory as it should be: `present` ones, with those of `to` and our own written anew."""
        files = {name: text for name, text in present.items() if name != OWN}
        for name in ("server.inc", "location.inc"):
            files[name] = STAMP + self._templates.get_template(f"{name}.j2").render(flag=self.flag)
        texts = {one.file_name: self.route(one) if isinstance(one, Route) else one.text for one in to}
        files = {name: text for name, text in {**files, **texts}.items() if text is not None}
        generation = self.generation(files)
        files[OWN] = STAMP + self._templates.get_template("conductor.conf.j2").render(
            flag=self.flag, generation=generation, status_socket=self.status_socket, unavailable=self.unavailable
        )
        return files

    @staticmethod
    def generation(files: Mapping[str, str]) -> str:
        """16 hex digits over names and texts of all files but our own."""
        digest = hashlib.sha256()
        for name, text in sorted(files.items()):
            if name != OWN:
                digest.update(f"{len(name)}:{name}{len(text)}:{text}".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def route(self, route: Route) -> str:
        """The upstream of a service, and its server block where Conductor writes that."""
        definition = route.definition
        nginx = definition.service.nginx
        upstream = self._templates.get_template("upstream.conf.j2").render(
            upstream=definition.upstream, addresses=route.addresses, unavailable=self.unavailable
        )
        text = f"{STAMP}# Service {definition.id}.\n{upstream}"
        if nginx is None or nginx.server is None:
            return text
        values = {
            "upstream": definition.upstream,
            "server": nginx.server,
            "include_dir": self._include_dir,
            "header_timeout_ms": max(1, int(nginx.drain * 800)),  # below drain, so that silence never outlasts it
            "service": definition.id,
        }
        return text + self._server(nginx.server.template, values)

    def _server(self, template: str | None, values: dict[str, object]) -> str:
        if template is None:
            return self._templates.get_template("server.conf.j2").render(values)
        try:
            return self._templates.from_string(Path(template).read_text()).render(values)
        except OSError as error:
            raise UsageError(f"cannot read template {template}: {error.strerror}") from error
        except Exception as error:
            line = getattr(error, "lineno", None)
            raise UsageError(f"cannot render template {template}{f':{line}' if line else ''}: {error}") from error
