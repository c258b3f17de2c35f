"""The files that nginx includes, as text: upstreams, server blocks, Conductor's own servers.

The generation is a digest of all files of the include directory, without the peers that Lua chooses among: equal bytes are an
equal generation and need no reload.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from conductor.definitions.host import Host
from conductor.definitions.listen import host_and_port
from conductor.definitions.model import Nginx, Server
from conductor.errors import ConductorError, UsageError
from conductor.plan.release import Maintenance
from conductor.plan.route import Route, Split
from conductor.traffic.peers import LUA_FILE, Peers, peers_of, statement, without_peers
from conductor.traffic.references import OWN_FILE

if TYPE_CHECKING:
    import jinja2

INCLUDES = ("server.inc", "location.inc")
RETRY_AFTER_SECONDS = 60  # of the header Retry-After in maintenance
MAX_PAGE_CHARACTERS = 2**16
PART_CHARACTERS = 200  # of a page in one word of nginx's configuration, which has at most 4096 bytes
_ESCAPES = {"$": "${conductor_dollar}", '"': r"\"", "\\": r"\\"}
HEADER = "# Written by Conductor; changes are overwritten.\n"


@functools.cache
def _templates() -> "jinja2.Environment":
    """One environment per process: `supervise` renders again and again, and compiled templates take memory."""
    import jinja2  # imported here because queries render nothing

    return jinja2.Environment(
        loader=jinja2.PackageLoader("conductor"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (nginx text, not HTML; the definitions refuse what nginx would misread)
    )


@functools.cache
def _pages() -> "jinja2.Environment":
    """The environment of HTML pages."""
    return _templates().overlay(autoescape=True)


def file_name(service: str) -> str:
    """Return the name of a service's file in the include directory."""
    return f"{service}.conf"


class Renderer:
    """Renders for one host. `runtime` is `host.runtime_dir`/nginx, for the announce flag and Conductor's sockets."""

    def __init__(self, host: Host) -> None:
        self._include_dir = host.nginx.include_dir
        self._live = host.nginx.cutover == "live"
        self.runtime = Path(host.runtime_dir) / "nginx"
        self.flag = self.runtime / "announce"
        self.status_socket = self.runtime / "private" / "status.sock"
        self.unavailable = self.runtime / "unavailable.sock"

    def candidate(self, present: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
        """Return every file of the include directory as it should be: those present, with `changes` and Conductor's own.

        A None in `changes` removes a file. Raises when a file of that name was not written by Conductor.
        """
        own = {f: HEADER + _templates().get_template(f"{f}.j2").render(flag=self.flag) for f in INCLUDES}
        live = self._live or any(map(peers_of, {**present, **changes}.values()))
        if live:  # the file stays after that, for old workers that have not read it yet
            own[LUA_FILE] = HEADER + _templates().get_template(LUA_FILE).render()  # Lua skips a first line with `#`
        for name in (*changes, *own, OWN_FILE):
            if not present.get(name, HEADER).startswith(HEADER):
                raise ConductorError(
                    f"cannot write {self._include_dir}/{name}: the file was not written by Conductor",
                    f"move it to another name: mv {self._include_dir}/{name} {self._include_dir}/other-{name}",
                )
        texts = {name: text for name, text in present.items() if name != OWN_FILE} | own | dict(changes)
        files = {name: text for name, text in texts.items() if text is not None}
        generation = self.generation(files)
        files[OWN_FILE] = HEADER + _templates().get_template("conductor.conf.j2").render(
            flag=self.flag, generation=generation, status_socket=self.status_socket, unavailable=self.unavailable, live=live,
            include_dir=self._include_dir,
        )  # fmt: skip
        return files

    @staticmethod
    def generation(files: Mapping[str, str]) -> str:
        """Return 16 hex digits over names and texts of all files but Conductor's own."""
        digest = hashlib.sha256()
        for name, text in sorted(files.items()):
            if name != OWN_FILE:
                fixed = without_peers(text)
                digest.update(f"{len(name)}:{name}{len(fixed)}:{fixed}".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def tmpfiles(self) -> str:
        """Return the tmpfiles.d entry for the directories that nginx needs when it starts."""
        modes = {self.runtime.parent: "0755", self.runtime: "0755", self.status_socket.parent: "0700"}
        return HEADER + "".join(f"d {path} {mode} root root -\n" for path, mode in modes.items())

    def unit_drop_in(self) -> str:
        """Return the drop-in for nginx's unit that removes the sockets of a killed nginx before the next start.

        Those of an nginx that runs without systemd stay: the kernel lists a socket while a process has it open. systemd
        replaces `$$` by `$`.
        """
        remove = 'grep -q " $$socket$$" /proc/net/unix || rm -f "$$socket"'
        loop = f"for socket in {self.status_socket} {self.runtime}/*.sock; do {remove}; done"
        return f"{HEADER}[Service]\nExecStartPre=-/bin/sh -c '{loop}'\n"

    def route(self, route: Route) -> str:
        """Return the upstream of a service, and its server blocks where Conductor writes these.

        The order of the endpoints does not matter: the same replicas are the same bytes. With `cutover: live`, the generation of
        the peers is 0.
        """
        definition = route.definition
        nginx = definition.service.nginx
        text = f"{HEADER}# Service {definition.id}.\n{self._upstream(route)}"
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
        text += self._server(nginx.server.template, route.template, values)
        if nginx.server.redirect_listen:
            text += _templates().get_template("redirect.conf.j2").render(values, port=_tls_port(nginx.server))
        return text

    def _upstream(self, route: Route) -> str:
        nginx = route.definition.service.nginx or Nginx()
        least, slow_start = nginx.balance == "least", nginx.slow_start
        options = ["least = true"] * least + ([f"slow_start = {slow_start:g}"] if slow_start else [])
        values = {
            "upstream": route.definition.upstream,
            "addresses": sorted(route.endpoints),
            "peers": statement(_peers(route)),
            "unavailable": self.unavailable,
            "live": self._live,
            "service": route.service,
            "include_dir": self._include_dir,
            "least": least,
            "options": options,
        }
        if route.maintenance is None:
            return _templates().get_template("upstream.conf.j2").render(values)
        page = self._page(route.service, route.maintenance)
        return _templates().get_template("maintenance.conf.j2").render(
            values, socket=self.runtime / f"{route.service}.maintenance.sock", retry_after_seconds=RETRY_AFTER_SECONDS,
            has_dollar="$" in page, page=_quoted(page),
        )  # fmt: skip

    def _page(self, service: str, maintenance: Maintenance) -> str:
        """Return the HTML page, in ASCII: the message is escaped, even in the operator's own template."""
        own = maintenance.template
        try:
            template = _pages().get_template("maintenance.html.j2") if own is None else _pages().from_string(own)
            page = template.render(message=maintenance.reason, service=service)
        except Exception as error:
            line = getattr(error, "lineno", None)
            where = f"line {line}: " if line else ""
            raise UsageError(f"cannot render the maintenance page for {service}: {where}{error}") from error
        if len(page) > MAX_PAGE_CHARACTERS:
            raise UsageError(
                f"cannot use the maintenance page for {service}: it has more than {MAX_PAGE_CHARACTERS} characters"
            )
        return page.encode("ascii", "xmlcharrefreplace").decode()

    def _server(self, template: str | None, text: str | None, values: dict[str, object]) -> str:
        if template is None:
            return _templates().get_template("server.conf.j2").render(values)
        try:
            text = Path(template).read_text() if text is None else text
            return _templates().from_string(text).render(values)
        except OSError as error:
            raise UsageError(f"cannot read template {template}: {error.strerror}") from error
        except Exception as error:
            line = getattr(error, "lineno", None)
            raise UsageError(f"cannot render template {template}{f':{line}' if line else ''}: {error}") from error


def _peers(route: Route) -> Peers:
    split = route.split and Split(tuple(sorted(route.split.endpoints)), route.split.percent)
    return Peers(route.service, 0, tuple(sorted(route.endpoints)), split)


def _quoted(page: str) -> list[str]:
    """Return a page in parts, each escaped for double quotes in nginx's configuration."""
    parts = [page[start : start + PART_CHARACTERS] for start in range(0, len(page), PART_CHARACTERS)]
    return ["".join(_ESCAPES.get(character, character) for character in part) for part in parts]


def _tls_port(server: Server) -> str:
    """Return the port in the address that plain requests are redirected to: empty for 443, which browsers assume."""
    ports = [place[1] for listen in server.listen if "ssl" in listen.split() and (place := host_and_port(listen))]
    return "" if "443" in ports else f":{ports[0]}"
