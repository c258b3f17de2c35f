"""The directory that nginx includes: reads its files, checks new ones with nginx, and puts them in place."""

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from conductor.definitions.host import HostNginx
from conductor.errors import ConductorError
from conductor.state import files
from conductor.traffic.nginx import Checked, Nginx
from conductor.traffic.references import OWN_FILE
from conductor.traffic.render import HEADER, Renderer


class IncludeDir:
    """The include directory of one nginx. Only Conductor's own files are written or removed, under the nginx lock."""

    def __init__(self, host: HostNginx, renderer: Renderer, nginx: Nginx) -> None:
        self._host = host
        self.path = Path(host.include_dir)
        self._renderer = renderer
        self._nginx = nginx
        self.drafts = renderer.status_socket.parent / "drafts"  # in memory: there is room when the disk is full

    def make_directories(self) -> None:
        """Create what nginx includes and where its workers look for the flag, open to all; the sockets' directory is not."""
        files.make_directory(self.path, 0o755)
        files.make_directory(self._renderer.runtime, 0o755)
        files.make_directory(self._renderer.status_socket.parent, 0o700)
        files.make_directory(self.drafts, 0o700)
        for draft in self.drafts.iterdir():
            if not Path("/proc", draft.name.partition("-")[0]).exists():  # the process that made it was killed
                import shutil

                shutil.rmtree(draft, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed writers left: temporary files with Conductor's header. Under the nginx lock no other process
        writes them. One that is still empty is reused by the next write."""
        for temporary in self.path.glob(".*.new"):
            if (self.read(temporary.name) or "").startswith(HEADER):
                temporary.unlink(missing_ok=True)

    def present(self) -> dict[str, str]:
        """Return all files of the directory by name, Conductor's and others'."""
        found = {}
        try:
            for path in self.path.iterdir():
                if not path.name.startswith(".") and (text := self.read(path.name)) is not None:
                    found[path.name] = text
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConductorError(f"cannot read {self.path}: {error.strerror}") from error
        return found

    def read(self, name: str) -> str | None:
        """Return the text of a file; None when it does not exist, also when it vanished a moment ago, or is a directory."""
        path = self.path / name
        try:
            return path.read_text(errors="surrogateescape")
        except (FileNotFoundError, IsADirectoryError):
            return None
        except OSError as error:
            raise ConductorError(f"cannot read {path}: {error.strerror}") from error

    def check(self, candidate: Mapping[str, str], overlays: Mapping[Path, str] | None = None) -> Checked:
        """Return nginx's whole configuration with `candidate` over the directory and `overlays` over single files.

        Raises `TrafficRefused` with nginx's own error.
        """
        import tempfile

        try:
            with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=self.drafts) as draft:
                checked = self._nginx.check(self._drafted(Path(draft), candidate, overlays or {}))
        except OSError as error:
            raise ConductorError(f"cannot write a temporary nginx file in {self.drafts}: {error.strerror}") from error
        self._require_included(checked)
        return checked

    def check_in_place(self) -> Checked:
        """Return nginx's whole current configuration. Nothing is written."""
        if not (self.path / OWN_FILE).exists():
            raise ConductorError(f"cannot find {self.path / OWN_FILE}: it does not exist", "conductor nginx install")
        checked = self._nginx.check_in_place()
        self._require_included(checked)
        return checked

    def _require_included(self, checked: Checked) -> None:
        if not re.search(rf"^# configuration file .*/{OWN_FILE}:$", checked.dump, re.MULTILINE):
            raise ConductorError(
                f"cannot use nginx: {self._host.config} does not include {self.path}/*.conf",
                f"add inside its http {{}}:  include {self.path}/*.conf;",
            )

    def _drafted(self, draft: Path, candidate: Mapping[str, str], overlays: Mapping[Path, str]) -> dict[Path, Path]:
        """Write the drafts; return which directory each one replaces in the check.

        A link stays a link, so that nginx refuses one to a missing file. Relative links resolve as before, because the draft
        is mounted over the directory.
        """
        import shutil

        included = draft / "included"
        included.mkdir()
        for name, target in self._links().items():
            if candidate.get(name) == self.read(name):  # false for a link that is about to be replaced or removed
                (included / name).symlink_to(target)
        for name, text in candidate.items():
            if not (included / name).is_symlink():
                (included / name).write_text(text, errors="surrogateescape")
        replaced = {self.path: included}
        for number, (path, text) in enumerate(overlays.items()):
            copy = shutil.copytree(path.parent, draft / str(number), symlinks=True)
            (copy / path.name).write_text(text)
            replaced[path.parent] = copy
        return replaced

    def _links(self) -> dict[str, Path]:
        """Return the links of the directory with their targets."""
        found = {}
        with contextlib.suppress(FileNotFoundError):
            for path in self.path.iterdir():
                with contextlib.suppress(OSError):  # a file that vanished, or no link
                    found[path.name] = path.readlink()
        return found

    def place(self, candidate: Mapping[str, str], names: Collection[str]) -> tuple[str, ...]:
        """Write or remove the files `names` as `candidate` has them, the one with the generation last; return what changed."""
        changed = [
            name for name in sorted(names, key=lambda n: (n == OWN_FILE, n)) if self.read(name) != candidate.get(name)
        ]
        for name in changed:
            if name in candidate:
                files.write_bytes(self.path / name, candidate[name].encode(errors="surrogateescape"), 0o644)
            else:
                files.remove(self.path / name)
        return tuple(changed)


def services_of(present: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the services that have a file of Conductor's."""
    names = (
        name
        for name, text in present.items()
        if text.startswith(HEADER) and name.endswith(".conf") and name != OWN_FILE
    )
    return tuple(name.removesuffix(".conf") for name in names)
