"""The files that nginx includes, as text: upstreams, server blocks, Conductor's own servers.

The generation is a digest of all files of the include directory: equal bytes are an equal generation and need no reload.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

import jinja2

from conductor.definitions.model import Host
from conductor.errors import ConductorError, UsageError
from conductor.plan.route import Route

OWN_FILE = "_conductor.conf"  # no service id starts with "_"
INCLUDES = ("server.inc", "location.inc")
HEADER = "# Written by Conductor; changes are overwritten.\n"


@functools.cache
def _templates() -> jinja2.Environment:
    """One environment per process: `supervise` renders again and again, and compiled templates take memory."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("conductor"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (nginx text, not HTML; the definitions refuse what nginx would misread)
    )


def file_name(service: str) -> str:
    """Return the name of a service's file in the include directory."""
    return f"{service}.conf"


class Renderer:
    """Renders for one host. `runtime` is `host.runtime_dir`/nginx, for the announce flag and Conductor's sockets."""

    def __init__(self, host: Host) -> None:
        self._include_dir = host.nginx.include_dir
        self.runtime = Path(host.runtime_dir) / "nginx"
        self.flag = self.runtime / "announce"
        self.status_socket = self.runtime / "private" / "status.sock"
        self.unavailable = self.runtime / "unavailable.sock"
        self._templates = _templates()

    def candidate(self, present: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
        """Return every file of the include directory as it should be: those present, with `changes` and Conductor's own.

        A None in `changes` removes a file. Raises when a file of that name was not written by Conductor.
        """
        own = {f: HEADER + self._templates.get_template(f"{f}.j2").render(flag=self.flag) for f in INCLUDES}
        for name in (*changes, *own, OWN_FILE):
            if not present.get(name, HEADER).startswith(HEADER):
                raise ConductorError(
                    f"cannot write {self._include_dir}/{name}: the file was not written by Conductor",
                    f"move it to another name: mv {self._include_dir}/{name} {self._include_dir}/other-{name}",
                )
        texts = {name: text for name, text in present.items() if name != OWN_FILE} | own | dict(changes)
        files = {name: text for name, text in texts.items() if text is not None}
        generation = self.generation(files)
        files[OWN_FILE] = HEADER + self._templates.get_template("conductor.conf.j2").render(
            flag=self.flag, generation=generation, status_socket=self.status_socket, unavailable=self.unavailable
        )
        return files

    @staticmethod
    def generation(files: Mapping[str, str]) -> str:
        """Return 16 hex digits over names and texts of all files but Conductor's own."""
        digest = hashlib.sha256()
        for name, text in sorted(files.items()):
            if name != OWN_FILE:
                digest.update(f"{len(name)}:{name}{len(text)}:{text}".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def tmpfiles(self) -> str:
        """Return the tmpfiles.d entry for the directories that nginx needs when it starts."""
        modes = {self.runtime.parent: "0755", self.runtime: "0755", self.status_socket.parent: "0700"}
        return HEADER + "".join(f"d {path} {mode} root root -\n" for path, mode in modes.items())

    def unit_drop_in(self) -> str:
        """Return the drop-in for nginx's unit that removes the sockets of a killed nginx before the next start."""
        return f"{HEADER}[Service]\nExecStartPre=-/bin/rm -f {self.status_socket} {self.unavailable}\n"

    def route(self, route: Route) -> str:
        """Return the upstream of a service, and its server block where Conductor writes that.

        The order of the endpoints does not matter: the same replicas are the same bytes.
        """
        definition = route.definition
        nginx = definition.service.nginx
        upstream = self._templates.get_template("upstream.conf.j2").render(
            upstream=definition.upstream, addresses=sorted(route.endpoints), unavailable=self.unavailable
        )
        text = f"{HEADER}# Service {definition.id}.\n{upstream}"
        if nginx is None or nginx.server is None:
            return text
        values = {
            "upstream": definition.upstream,
            "server": nginx.server,
            "include_dir": self._include_dir,
            "header_timeout_ms": max(
                1, int(nginx.drain * 800)
            ),  # below `drain`, so that silent clients end before its deadline
            "service": definition.id,
        }
        return text + self._server(nginx.server.template, route.template, values)

    def _server(self, template: str | None, text: str | None, values: dict[str, object]) -> str:
        if template is None:
            return self._templates.get_template("server.conf.j2").render(values)
        try:
            text = Path(template).read_text() if text is None else text
            return self._templates.from_string(text).render(values)
        except OSError as error:
            raise UsageError(f"cannot read template {template}: {error.strerror}") from error
        except Exception as error:
            line = getattr(error, "lineno", None)
            raise UsageError(f"cannot render template {template}{f':{line}' if line else ''}: {error}") from error
