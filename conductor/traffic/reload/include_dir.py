"""The files that nginx includes, on disk: what is there, what should be, checked before it is in place, and put there."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from conductor.definitions.model import HostNginx
from conductor.errors import ConductorError
from conductor.state import files
from conductor.traffic.nginx import Nginx
from conductor.traffic.render import OWN, STAMP, Former, Renderer, Route, addresses_in


class Tree:
    """The include directory of one nginx, and the drop-in for its main context. Changed under the nginx lock only."""

    def __init__(self, host: HostNginx, renderer: Renderer, nginx: Nginx) -> None:
        self._host = host
        self._directory = Path(host.include_dir)
        self._renderer = renderer
        self._nginx = nginx
        self._drafts = renderer.status_socket.parent / "drafts"  # in memory: there is room when the disk is full

    def make_directories(self) -> None:
        """What nginx includes and where its workers look for the flag is open to all, our sockets are not."""
        files.make_directory(self._directory, 0o755)
        files.make_directory(self._renderer.runtime, 0o755)
        files.make_directory(self._renderer.status_socket.parent, 0o700)
        files.make_directory(self._drafts, 0o700)
        for left in self._drafts.iterdir():
            if not Path("/proc", left.name.partition("-")[0]).exists():  # its maker was killed
                shutil.rmtree(left, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what a writer that was killed has left; under the nginx lock nobody else writes."""
        for left in self._directory.glob(".*.new"):
            left.unlink(missing_ok=True)

    def present(self) -> dict[str, str]:
        """All files of the directory, our own and others', by name."""
        try:
            found = [p for p in self._directory.iterdir() if p.is_file() and not p.name.startswith(".")]
            return {path.name: path.read_text(errors="surrogateescape") for path in found}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConductorError(f"cannot read {self._directory}: {error.strerror}") from error

    def candidate(self, to: tuple[Route | Former, ...]) -> dict[str, str]:
        """The directory as it should be."""
        return self._renderer.candidate(self.present(), to)

    def served(self, service: str) -> frozenset[str]:
        """The addresses in one service's file; none when there is no file."""
        try:
            return frozenset(addresses_in((self._directory / f"{service}.conf").read_text(errors="replace")))
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise ConductorError(f"cannot read {self._directory}/{service}.conf: {error.strerror}") from error

    def known(self) -> frozenset[str]:
        """Every address in an upstream of ours."""
        ours = (text for text in self.present().values() if text.startswith(STAMP))
        return frozenset(address for text in ours for address in addresses_in(text))

    def checked(self, candidate: dict[str, str], *, drop_in: bool = False) -> str:
        """The whole configuration with the candidate, and the drop-in, laid over what is in place, as nginx reads it."""
        try:
            with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=self._drafts) as draft:
                dump = self._nginx.check(self._overlays(Path(draft), candidate, drop_in=drop_in))
        except OSError as error:
            raise ConductorError(f"cannot write a draft for nginx in {self._drafts}: {error.strerror}") from error
        if not re.search(rf"^# configuration file .*/{OWN}:$", dump, re.MULTILINE):
            raise ConductorError(
                f"cannot use nginx: {self._host.config} does not include {self._directory}/*.conf",
                f"write inside its http {{}}:  include {self._directory}/*.conf;",
            )
        return dump

    def _overlays(self, draft: Path, candidate: dict[str, str], *, drop_in: bool) -> dict[Path, Path]:
        included = draft / "included"
        included.mkdir()
        for name, text in candidate.items():
            (included / name).write_text(text, errors="surrogateescape")
        path, text = self._drop_in()
        if not drop_in or not path.parent.is_dir():
            return {self._directory: included}
        main = shutil.copytree(path.parent, draft / "main", symlinks=True)
        (main / path.name).write_text(text)
        return {self._directory: included, path.parent: main}

    def place(self, candidate: dict[str, str]) -> tuple[str, ...]:
        """Put it in place, file by file, ours with the generation last; the names that changed."""
        present = self.present()
        changed = [name for name, text in sorted(candidate.items(), key=_own_last) if present.get(name) != text]
        for name in changed:
            files.write_bytes(self._directory / name, candidate[name].encode(errors="surrogateescape"), 0o644)
        gone = [name for name in present if name not in candidate]
        for name in gone:
            files.remove(self._directory / name)
        return (*changed, *gone)

    def place_drop_in(self) -> tuple[str, ...]:
        """`worker_shutdown_timeout`, where the layout has a place for it (Debian's has)."""
        for path, (text, present) in self.drop_in().items():
            if present != text:
                files.write_bytes(path, text.encode(), 0o644)
                return (path.name,)
        return ()

    def drop_in(self) -> dict[Path, tuple[str, str | None]]:
        """Where `worker_shutdown_timeout` should stand, the text, and the one in place; nothing where no place is."""
        path, text = self._drop_in()
        if not path.parent.is_dir():
            return {}
        return {path: (text, path.read_text(errors="replace") if path.is_file() else None)}

    def _drop_in(self) -> tuple[Path, str]:
        text = f"{STAMP}worker_shutdown_timeout {int(self._host.longest_connection * 1000)}ms;\n"
        return Path(self._host.config).parent / "modules-enabled" / "90-conductor.conf", text


def of_services(names: Iterable[str]) -> tuple[str, ...]:
    """The names of services' files among all files of ours."""
    return tuple(name for name in names if name != OWN and name.endswith(".conf"))


def _own_last(item: tuple[str, str]) -> tuple[bool, str]:
    return item[0] == OWN, item[0]
