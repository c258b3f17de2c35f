"""The files outside the include directory that `conductor nginx install` writes, so that nginx starts after a reboot."""

from pathlib import Path

from conductor import systemctl
from conductor.definitions.host import Host
from conductor.state import files
from conductor.traffic import grammar
from conductor.traffic.port import ManagedFile
from conductor.traffic.render import HEADER, Renderer

TMPFILES = Path("/etc/tmpfiles.d")
NGINX_UNIT = Path("/etc/systemd/system/nginx.service.d")
DISTRIBUTION_CONFIG = "/etc/nginx/nginx.conf"


class InstalledFiles:
    """These files of one host."""

    def __init__(self, host: Host, renderer: Renderer) -> None:
        self._host = host
        self._renderer = renderer

    def files(self) -> tuple[ManagedFile, ...]:
        """Return the files outside the include directory that `install` writes, where the host has a place for them.

        /run is empty after a boot, so systemd-tmpfiles creates the directories there before nginx starts. A killed nginx
        leaves its sockets behind, which its unit removes before the next start.
        """
        wanted = {}
        drop_in = self.drop_in
        if drop_in.parent.is_dir() and (self.own_timeout() is None or drop_in.exists()):
            milliseconds = int(self._host.nginx.longest_connection * 1000)
            limit = "" if self.own_timeout() else f"worker_shutdown_timeout {milliseconds}ms;\n"
            wanted[drop_in] = f"{HEADER}{limit}"
        name = "conductor.conf" if self._host.instance == "default" else f"conductor-{self._host.instance}.conf"
        if self._host.runtime_dir.startswith("/run/"):
            wanted[TMPFILES / name] = self._renderer.tmpfiles()
        if self._host.nginx.config == DISTRIBUTION_CONFIG:
            wanted[NGINX_UNIT / name] = self._renderer.unit_drop_in()
        found = [
            ManagedFile(path=path, wanted=text, present=_read(path), at_boot=path.parent == TMPFILES)
            for path, text in wanted.items()
        ]
        return tuple(
            one for one in found if one.path.parent.parent.is_dir() and (one.present or HEADER).startswith(HEADER)
        )  # a file that Conductor did not write stays

    def write(self) -> tuple[str, ...]:
        """Write the files that differ; return their paths."""
        changed = [file for file in self.files() if file.present != file.wanted]
        for file in changed:
            files.make_directory(file.path.parent, 0o755)
            files.write_bytes(file.path, file.wanted.encode(), 0o644)
        if any(file.path.parent == NGINX_UNIT for file in changed):
            systemctl.reload_units()
        return tuple(str(file.path) for file in changed)

    def own_timeout(self) -> str | None:
        """Return the file in which the operator sets `worker_shutdown_timeout`, if any."""
        found = grammar.of_file(Path(self._host.nginx.config))
        others = (one.path for one in found if one.name == "worker_shutdown_timeout")
        return next((path for path in others if Path(path) != self.drop_in), None)

    @property
    def drop_in(self) -> Path:
        """A file that Debian's nginx.conf includes in the main context."""
        return Path(self._host.nginx.config).parent / "modules-enabled" / "90-conductor.conf"


def _read(path: Path) -> str | None:
    return path.read_text(errors="replace") if path.is_file() else None
