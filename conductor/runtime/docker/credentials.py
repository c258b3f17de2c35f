"""The registry's credentials for a pull, from the caller's Docker configuration (`docker login`).

Only a pull reads that file. The SDK reads all of it in its constructor, so that one damaged entry would stop every command,
and it waits for a credential helper without a deadline.
"""

import base64
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conductor.errors import ConductorError
from conductor.times import duration_text

HELPER_SECONDS = 30.0  # for one answer of a credential helper
TICK_SECONDS = 0.1
INDEX = "https://index.docker.io/v1/"  # the name of Docker Hub in the file
_NOT_FOUND = b"credentials not found in native keychain"  # the protocol's answer for a registry without credentials


def registry(image: str) -> str:
    """Return the key of an image's registry in the file: the first part of the name if that is a host, else Docker Hub."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or not {".", ":"}.isdisjoint(first)) else INDEX


def login_command(image: str) -> str:
    """Return the command that logs in to an image's registry."""
    server = registry(image)
    return "docker login" if server == INDEX else f"docker login {server}"


def credentials(image: str, monotonic: Callable[[], float], tick: Callable[[], None]) -> dict[str, str]:
    """Return the credentials for pulling an image, in the form of the Engine API; empty when there are none.

    Errors name the file or the helper, and never quote the file. `tick` is called while a helper runs, and may raise.
    """
    directory = os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser()
    path, server = Path(directory, "config.json"), registry(image)
    try:
        found = json.loads(path.read_bytes())
        helper = found.get("credHelpers", {}).get(server) or found.get("credsStore")
        auths = found.get("auths", {})
        entry: dict[str, str] = auths.get(server) or next((auths[name] for name in auths if _host(name) == server), {})
        stored = _decoded(entry)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, error.strerror or "I/O error") from error
    except json.JSONDecodeError as error:
        raise _unreadable(path, f"line {error.lineno} is not valid JSON") from error
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        raise _unreadable(path, f"its entry for {server} is invalid") from None  # the cause may quote a password
    return (helper and _from_helper(f"docker-credential-{helper}", server, monotonic, tick)) or stored


def _host(name: str) -> str:
    """Return the host of a key that an old `docker login` wrote as a URL."""
    return name.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decoded(entry: dict[str, str]) -> dict[str, str]:
    if entry.get("identitytoken"):
        return {"identitytoken": entry["identitytoken"]}
    if entry.get("auth"):
        username, colon, password = base64.b64decode(entry["auth"]).decode().rstrip("\0").partition(":")
        if not colon:
            raise ValueError("no colon")
        return {"username": username, "password": password}
    return {name: entry[name] for name in ("username", "password") if name in entry}


def _unreadable(path: Path, cause: str) -> ConductorError:
    return ConductorError(f"cannot read {path}: {cause}", "correct the file, or remove it and run docker login again")


def _from_helper(program: str, server: str, monotonic: Callable[[], float], tick: Callable[[], None]) -> dict[str, str]:
    """Return the credentials from a helper; empty when it has none for the registry."""
    cannot, hint = f"cannot get the credentials for {server} from {program}", f"echo {server} | {program} get"
    try:
        process = subprocess.Popen(
            [program, "get"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that all processes that it starts are killed with it
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ConductorError(
            f"{cannot}: it is not installed", f"install {program}, or remove it from the file"
        ) from error
    except OSError as error:
        raise ConductorError(f"{cannot}: {error.strerror}", hint) from error
    try:
        output = _output(process, server, monotonic, tick)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    if output is None:
        raise ConductorError(
            f"{cannot}: it did not respond within {duration_text(HELPER_SECONDS)} and was killed", hint
        )
    if process.returncode != 0:
        if output.strip() == _NOT_FOUND:
            return {}
        raise ConductorError(f"{cannot}: it exited with code {process.returncode}", hint)
    try:
        found: dict[str, Any] = json.loads(output)
        username, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ConductorError(f"{cannot}: its output is invalid", hint) from None  # the cause quotes the answer
    if username == "<token>":
        return {"identitytoken": secret}
    return {"username": username, "password": secret} if username or secret else {}


def _output(
    process: "subprocess.Popen[bytes]", server: str, monotonic: Callable[[], float], tick: Callable[[], None]
) -> bytes | None:
    """Return the helper's output, or None when it does not exit in time."""
    until, given = monotonic() + HELPER_SECONDS, server.encode()
    while monotonic() < until:
        tick()
        try:
            return process.communicate(given, timeout=TICK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            given = b""
    return None
