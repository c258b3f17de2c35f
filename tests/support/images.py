"""Docker images without a registry: a Debian base with Python, and on it the fixture app with tags r1 to r9.

Built once per machine: the base is a cached tar, the app's images carry the digest of what they were built from.
Run `python -m tests.support.images` to make them by hand.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

BASE = "conductor-example-base:bookworm"  # the example builds on the same image
BASE_TAR = "python3-bookworm.tar"
WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
APP = "conductor-test-app"
REVISIONS = tuple(f"r{n}" for n in range(1, 10))
SOURCE_LABEL = "conductor-test.source"
APP_FILE = Path(__file__).with_name("app.py")
DOCKERFILE = f"""\
FROM {BASE}
COPY app.py /app/app.py
WORKDIR /app
EXPOSE 8080
ENTRYPOINT []
CMD ["python3", "-I", "-S", "-B", "/app/app.py"]
"""


class ImageError(RuntimeError):
    """An image could not be made; the message holds what the tool said."""


def cache_dir() -> Path:
    """Where the base is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "conductor"


def ensure_base() -> None:
    """Make sure that the base image is there."""
    if _exists(BASE):
        return
    with _only_one_builder():
        if _exists(BASE):
            return
        tar = cache_dir() / BASE_TAR
        if not tar.exists():
            beside = tar.with_name(f".{os.getpid()}-{tar.name}")  # the suffix tells mmdebstrap what to make
            try:
                leave_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT]
                recipe = ["--variant=minbase", "--include=python3", *leave_out, "bookworm"]
                _run(["mmdebstrap", "--quiet", *recipe, str(beside)])
                beside.rename(tar)
            finally:
                beside.unlink(missing_ok=True)
        _run(["docker", "import", str(tar), BASE])


def ensure_app() -> None:
    """Make sure that every revision of the fixture app is there, built from the file as it is now."""
    ensure_base()
    if _missing():
        with _only_one_builder():
            for revision in _missing():
                _build(revision)


def _source_digest() -> str:
    return hashlib.sha256(APP_FILE.read_bytes() + DOCKERFILE.encode()).hexdigest()[:32]


def _missing() -> list[str]:
    """The revisions to build: absent, or of another source."""
    asked = subprocess.run(
        ["docker", "image", "inspect", *(f"{APP}:{r}" for r in REVISIONS)],
        capture_output=True,
        text=True,
        check=False,
    )
    digest = _source_digest()
    there = {
        tag.partition(":")[2]
        for image in json.loads(asked.stdout or "[]")
        if (image["Config"]["Labels"] or {}).get(SOURCE_LABEL) == digest
        for tag in image["RepoTags"]
    }
    return [r for r in REVISIONS if r not in there]


def _build(revision: str) -> None:
    """The revision is the last layer, so that the images share all else."""
    recipe = DOCKERFILE + f"LABEL {SOURCE_LABEL}={_source_digest()}\nENV REVISION={revision}\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for name, content in (("Dockerfile", recipe.encode()), ("app.py", APP_FILE.read_bytes())):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    _run(["docker", "build", "--quiet", "--tag", f"{APP}:{revision}", "-"], stdin=context.getvalue())


def _exists(image: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0


def _run(words: list[str], stdin: bytes | None = None) -> None:
    done = subprocess.run(
        words, input=stdin, capture_output=True, check=False, env={**os.environ, "DOCKER_BUILDKIT": "0"}
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise ImageError(f"cannot run {' '.join(words[:3])}: exit code {done.returncode}: {said[-2000:]}")


@contextlib.contextmanager
def _only_one_builder() -> Iterator[None]:
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{BASE_TAR}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    ensure_app()
