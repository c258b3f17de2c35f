"""A response of the daemon whose shape is not that of the Engine API: the call fails with an error that says so.

A daemon is not trusted, and a new version may leave a field out. Neither is a bug of Conductor.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from conductor.errors import ConductorError

# Raised by code that reads a response: a missing field, another type, or nesting that is too deep.
SHAPE_ERRORS = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
HINT = "compare its version with conductor help compatibility"

C = TypeVar("C", bound=type)


def malformed(cannot: str, product: str, error: BaseException) -> ConductorError:
    """Return the error of a call whose response cannot be read."""
    return ConductorError(f"{cannot}: the response of {product} has an unexpected shape ({error!r:.200})", HINT)


def refuses_malformed(runtime: C) -> C:
    """Make each public method of a runtime raise `ConductorError` for a response that cannot be read."""
    for name, method in list(vars(runtime).items()):
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(runtime, name, _refusing(method))
    return runtime


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except SHAPE_ERRORS as error:
            raise malformed(f"cannot {method.__name__.replace('_', ' ')}", "Docker", error) from error

    return call
