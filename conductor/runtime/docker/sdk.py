"""The Docker SDK, and its exceptions as a `ConductorError`: the only module that imports `docker`."""

import contextlib
import functools
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import docker
import docker.errors
import docker.types
import docker.utils.config
import requests.exceptions
import urllib3.exceptions

from conductor.definitions.host import Network
from conductor.errors import ConductorError
from conductor.runtime.docker import responses
from conductor.runtime.docker.api import error_message
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.dialect import Dialect, product_at
from conductor.runtime.docker.shapes import MalformedResponse, read, read_json
from conductor.runtime.docker.trace import traced
from conductor.runtime.port import RuntimeUnavailable
from conductor.times import duration_text

T = TypeVar("T")
DEADLINE_SECONDS = 60  # of one call; a pull has it between two messages of its stream
SHOWN_CHARACTERS = 200  # of an error without a message
APIError, NotFound = docker.errors.APIError, docker.errors.NotFound
CONNECTION_ERRORS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # raised unwrapped while a stream is read
    docker.errors.StreamParseError,  # the last message of a stream was incomplete
    OSError,
)
REQUEST_ERRORS = (APIError, MalformedResponse, *CONNECTION_ERRORS)

# The SDK reads the caller's Docker configuration in its constructor and fails on a damaged one. `credentials` reads it.
docker.utils.config.find_config_file = lambda *_: None


class _Client(docker.APIClient):
    """The SDK's client, whose calls can be printed. `learn` receives the headers of each response."""

    def __init__(self, learn: Callable[[Mapping[str, str]], None], base_url: str, version: str) -> None:
        self._learn = learn
        super().__init__(base_url=base_url, version=version, timeout=DEADLINE_SECONDS)

    def _result(self, response: Any, json: bool = False, binary: bool = False) -> Any:
        """Decode a response here: the SDK takes one that is not JSON for a lost connection, and fails on deep nesting."""
        if not json:
            return super()._result(response, json, binary)  # type: ignore[misc]
        self._raise_for_status(response)
        return read_json(response.content, Any)

    def _raise_for_status(self, response: Any) -> None:
        """The SDK fails on an error that is JSON without a message."""
        if response.status_code >= 400 and not error_message(response.content):
            answer = f"status {response.status_code} {response.text[:SHOWN_CHARACTERS]}".strip()
            raise (NotFound if response.status_code == 404 else APIError)(answer, response, answer)
        super()._raise_for_status(response)  # type: ignore[misc]

    def send(self, request: Any, **options: Any) -> Any:
        """Send one request."""
        with traced(request.method, request.path_url) as answer:
            response = super().send(request, **options)
            answer.status = response.status_code
        self._learn(response.headers)
        return response


class Sdk:
    """The SDK's client of one daemon, and `tasks`, Conductor's own client of it."""

    def __init__(self, base_url: str, instance: str) -> None:
        self._base_url = base_url
        # It also knows the daemon's dialect, after the first response to either of the two clients.
        self.tasks = TaskRuntime(base_url, instance)

    @functools.cached_property
    def api(self) -> Any:
        """Return the client, with the version of the API that `tasks` negotiates: the SDK itself would take the daemon's newest
        one, whose responses may have another shape."""
        return _Client(self.tasks.api.learn, self._base_url, self.tasks.api.version())

    def renegotiate(self) -> None:
        """Negotiate the version of the API again before the next call: the daemon may have been upgraded."""
        self.__dict__.pop("api", None)
        self.tasks.api.renegotiate()

    @contextlib.contextmanager
    def errors(self, cannot: str | Callable[[], str], hint: str = "") -> Iterator[None]:
        """Translate what the SDK raises into a `ConductorError` that begins with `cannot`; a callable is called only then."""
        try:
            yield
        except (docker.errors.DockerException, *REQUEST_ERRORS) as error:
            if not isinstance(error, APIError):
                self.renegotiate()
            begin = cannot if isinstance(cannot, str) else cannot()
            raise _translated(error, begin, hint, product_at(self._base_url)) from error

    @property
    def dialect(self) -> Dialect:
        """Return the dialect of the daemon, taken from its first response."""
        self.api  # noqa: B018 (connects)
        return self.tasks.api.dialect

    @property
    def image_not_found(self) -> type[Exception]:
        """The SDK knows Docker's own words for it, and any other 404 is an error."""
        return docker.errors.NotFound if self.dialect.any_404_is_no_image else docker.errors.ImageNotFound

    @property
    def is_local(self) -> bool:
        """Only a daemon on this host has this host's files."""
        return self._base_url.startswith("unix://")


def messages(stream: Iterable[Any], shape: type[T]) -> Iterator[T]:
    """Yield the messages of a stream that the SDK has decoded. Raise `MalformedResponse`."""
    remaining = iter(stream)
    while True:
        try:
            message = next(remaining)
        except StopIteration:
            return
        except RecursionError as error:
            raise MalformedResponse("it is nested too deep") from error
        yield read(message, shape)


def address_pool(network: Network) -> Any:
    """Return the SDK's form of the addresses of Conductor's own network."""
    pool = docker.types.IPAMPool(
        subnet=network.subnet,
        iprange=network.tasks,
        gateway=str(next(ipaddress.IPv4Network(network.subnet).hosts())),
    )
    return docker.types.IPAMConfig(pool_configs=[pool])


def _translated(error: BaseException, cannot: str, hint: str, daemon: tuple[str, str]) -> ConductorError:
    product, unit = daemon
    match error:
        case MalformedResponse():
            return error.error(cannot, product)
        case docker.errors.APIError():
            return ConductorError(f"{cannot}: {responses.message(str(error.explanation or error))}", hint)
        case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError():
            return RuntimeUnavailable(f"{cannot}: {product} did not respond within {duration_text(DEADLINE_SECONDS)}")
        case OSError() | urllib3.exceptions.HTTPError() | docker.errors.StreamParseError():
            hint = f"check it with systemctl status {unit}"
            return RuntimeUnavailable(f"{cannot}: the connection to {product} was lost", hint)
        case _:
            return ConductorError(f"{cannot}: {error}", hint)
