"""With `--verbose`: each request to Docker on standard error. Headers and bodies are never shown, because they have secrets."""

import contextlib
from collections.abc import Iterator
from urllib.parse import unquote

from conductor.clock import Clock
from conductor.output.streams import write_stderr
from conductor.output.verbosity import is_verbose
from conductor.times import duration_text


class Answer:
    """The status of a response, 0 until it has arrived."""

    status = 0


@contextlib.contextmanager
def traced(method: str, target: str) -> Iterator[Answer]:
    """Print a request when the block ends, with the status that the block stored and its duration."""
    answer = Answer()
    if not is_verbose():
        yield answer
        return
    clock = Clock()
    began = clock.monotonic()
    try:
        yield answer
    finally:
        outcome, took = answer.status or "no response", duration_text(clock.monotonic() - began)
        write_stderr(f"{'docker':>8}  {method} {unquote(target)}: {outcome} in {took}")
