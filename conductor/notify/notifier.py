"""Delivers notifications: which command and webhook get one, all of them at once, and a record of failures for `doctor`."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from conductor.clock import Clock
from conductor.definitions.environment import redaction
from conductor.definitions.host import Notify
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Service
from conductor.errors import ConductorError
from conductor.notify import command, webhook
from conductor.plan.notification import Notification
from conductor.state.notifications import NotificationRecords
from conductor.state.store import Store
from conductor.times import duration_text

END_SECONDS = 1.0  # after the timeout, for killing a command; only then is an attempt abandoned


class Settings(NamedTuple):
    """The settings for one service or for the host, and the service whose secrets are removed from a command's output."""

    notify: Notify
    service: Service | None


def settings_of(written: Notify | tuple[str, ...]) -> Notify:
    """Return the settings; a list in the file is only the command."""
    return written if isinstance(written, Notify) else Notify(command=written)


def unusable(definitions: Definitions) -> Iterator[tuple[str | None, str]]:
    """Yield the service (None: the host) and the problem of each command and webhook file that cannot be used."""
    written = [
        (None, definitions.host.notify),
        *((one.id, one.service.notify) for one in definitions.services.values()),
    ]
    for service, notify in ((service, settings_of(one)) for service, one in written if one):
        if notify.command and shutil.which(notify.command[0], path=command.ENVIRONMENT["PATH"]) is None:
            yield service, f"{notify.command[0]} is not an executable file"
        if notify.webhook is not None:
            try:
                webhook.url_of(notify.webhook)
            except ConductorError as error:
                yield service, error.sentence


def _redacted(service: Service | None, text: str) -> str:
    """Return the text without the secrets of the service, which are read only now."""
    return redaction(service)(text) if service and text else text


class Attempt(threading.Thread):
    """One delivery. `problem` is why it failed; empty after a success."""

    def __init__(self, service: str | None, send: Callable[[], None], seconds: float) -> None:
        super().__init__(daemon=True)  # a lookup of a name may take longer than the timeout
        self.service = service
        self.seconds = seconds
        self.problem = "the delivery could not be started"
        self._send = send

    def run(self) -> None:
        """Send the notification, and set `problem`."""
        self.problem = f"the delivery did not finish within {duration_text(self.seconds)}"
        try:
            self._send()
        except ConductorError as error:
            self.problem = error.sentence
        except Exception as error:  # noqa: BLE001 (a bug here must not change the outcome of an action)
            self.problem = f"a bug in Conductor ({type(error).__name__})"
        else:
            self.problem = ""


def run_all(attempts: Sequence[Attempt], clock: Clock, end_seconds: float = END_SECONDS) -> None:
    """Run all attempts at once, until each has ended or was abandoned `end_seconds` after its timeout."""
    for attempt in attempts:
        with contextlib.suppress(RuntimeError):  # the host allows no more threads
            attempt.start()
    began = clock.monotonic()
    for attempt in (one for one in attempts if one.is_alive()):
        attempt.join(max(0.0, began + attempt.seconds + end_seconds - clock.monotonic()))


class Notifier:
    """Delivers notifications by the definitions of the file as it is now.

    A service that is not defined, or whose definition is invalid, has the settings of its release, so that a mistake in the file
    turns no notification off.
    """

    def __init__(self, definitions: Callable[[], Definitions], store: Store, clock: Clock) -> None:
        self._definitions = definitions
        self._store = store
        self.clock = clock

    def settings(self, service: str | None) -> Settings | None:
        """Return the settings of a service or, if it has none, of the host; None if neither has any."""
        found = self._service(service) if service else None
        written = (found.notify if found else None) or self._definitions().host.notify
        return Settings(settings_of(written), found) if written else None

    def _service(self, service: str) -> Service | None:
        defined = self._definitions().services.get(service)
        if defined is not None:
            return defined.service
        with contextlib.suppress(ConductorError):
            release = self._store.wanted(service).release
            return restore(service, release.definition).service if release else None
        return None

    def deliver(self, notifications: Sequence[Notification]) -> list[str]:
        """Deliver the notifications whose events are wanted, all at once; return a warning for each failure."""
        attempts = [attempt for one in notifications for attempt in self._attempts(one)]
        run_all(attempts, self.clock)
        self._record(attempts)
        return [
            f"cannot send a notification about {one.service or 'this host'}: {one.problem}"
            for one in attempts
            if one.problem
        ]

    def _attempts(self, notification: Notification) -> list[Attempt]:
        settings = self.settings(notification.service)
        if settings is None or notification.event not in (*settings.notify.on, "test"):
            return []
        notify, service = settings
        document = msgspec.json.encode(notification) + b"\n"
        sends: list[Callable[[], None]] = []
        if notify.command is not None:
            redact = partial(_redacted, service)
            sends.append(partial(command.run, notify.command, document, notify.timeout, redact))
        if notify.webhook is not None:
            sends.append(partial(webhook.post, notify.webhook, document, notify.timeout))
        return [Attempt(notification.service, send, notify.timeout) for send in sends]

    def _record(self, attempts: Sequence[Attempt]) -> None:
        """Store the failures of each service in a row, or remove the record after a success."""
        for service in {one.service for one in attempts if one.service}:
            problems = [one.problem for one in attempts if one.service == service and one.problem]
            with contextlib.suppress(ConductorError):  # the warning is given in any case
                NotificationRecords(self._store.directory).record_delivery(
                    service, self.clock.now(), problems[0] if problems else ""
                )
