"""Coverage-guided fuzzing of what Conductor reads: `python -m tests.support.fuzz TARGET [options of libFuzzer]`.

libFuzzer changes the inputs of a corpus and keeps those that reach new code. An exception that is no `ConductorError` ends
the process, and its input is written to a file.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["conductor", "yaml"]):
    from conductor.cron.table import parse
    from conductor.definitions.environment import environment
    from conductor.definitions.load import load
    from conductor.errors import ConductorError
    from conductor.plan.journal import Journal
    from conductor.plan.release import Wanted
    from conductor.runtime.docker.dialect import PODMAN
    from conductor.runtime.docker.responses import container_state, containers, image
    from conductor.runtime.docker.shapes import (
        InspectedContainer,
        InspectedImage,
        ListedContainer,
        MalformedResponse,
        read_json,
    )
    from conductor.state import files
    from conductor.traffic import grammar

SCRATCH = Path(tempfile.mkdtemp())


def definitions(data: bytes) -> None:
    path = SCRATCH / "services.yml"
    path.write_bytes(data)
    load(path)


def env_file(data: bytes) -> None:
    path, config = SCRATCH / "env", SCRATCH / "services.yml"
    path.write_bytes(data)
    config.write_text(
        f"version: 1\nservices: {{web: {{image: x, count: 0, env_file: {path}, health: {{none: true}}}}}}"
    )
    environment(load(config).service("web").service)


def state(data: bytes) -> None:
    for shape in (Wanted, Journal):
        with contextlib.suppress(ConductorError):
            files.decode(data, shape, "x", "y")


def nginx(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    grammar.of_dump(text)
    grammar.everywhere(text)
    grammar.options(text)
    list(grammar.servers(text))


def docker(data: bytes) -> None:
    with contextlib.suppress(MalformedResponse):
        containers([PODMAN.row(row) for row in read_json(data, list[ListedContainer])])
    with contextlib.suppress(MalformedResponse):
        found = read_json(data, InspectedContainer)
        container_state(found)
        container_state(PODMAN.container(found))
    with contextlib.suppress(MalformedResponse):
        image(PODMAN.image(read_json(data, InspectedImage)), "a:b")


TARGETS: dict[str, Callable[[bytes], object]] = {
    "definitions": definitions,
    "crontab": parse,
    "env-file": env_file,
    "state": state,
    "nginx": nginx,
    "docker": docker,
}


def main() -> None:
    target = TARGETS[sys.argv[1]]

    def run(data: bytes) -> None:
        with contextlib.suppress(ConductorError):
            target(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
