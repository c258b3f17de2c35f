"""Write the definitions file from a store: only a value without problems, atomically; the last good file stays in place."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from conductor.clock import Clock
from conductor.definitions.load import parse
from conductor.definitions.problems import DefinitionsError
from conductor.errors import ConductorError
from conductor.state.files import write_bytes
from conductor.sync.source import Address, Found, Source

POLL_SECONDS = 0.5  # a change must arrive within 2 s, and validating 1,000 services takes 0.16 s of processor time
MODE = 0o640


def apply(found: Found, address: Address, path: Path) -> str:
    """Write the value unless the file has it; return what was done, for people. Raise `DefinitionsError` for its problems."""
    definitions = parse(found.data, path, address.url)
    if definitions.problems:
        raise DefinitionsError(address.url, definitions.problems)
    count = f"{len(definitions.ids)} service{'s' * (len(definitions.ids) != 1)}"
    try:
        unchanged = path.read_bytes() == found.data
    except OSError:
        unchanged = False
    if unchanged:
        return f"{path} is up to date: {count}"
    write_bytes(path, found.data, MODE)
    return f"wrote {path}: {count}"


def follow(
    source: Source, address: Address, path: Path, clock: Clock, report: Callable[[str | ConductorError], None]
) -> NoReturn:
    """Apply each version of the value. `report` gets what was done, and each new problem once."""
    seen: str | None = None
    problem: ConductorError | None = None
    while True:
        try:
            if found := source.read(seen):
                try:
                    report(apply(found, address, path))
                except DefinitionsError as error:  # the same value is not checked again
                    report(error)
                seen = found.version
            if problem:
                report(f"resolved: {problem}")
                problem = None
        except ConductorError as error:
            if problem is None or error.args != problem.args:
                report(error)
            problem = error
        clock.sleep(POLL_SECONDS)
