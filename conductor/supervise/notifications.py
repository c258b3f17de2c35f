"""Delivers the notifications of `supervise` in threads, so that no pass and no action waits for them."""

import threading

from conductor.notify.notifier import Notifier
from conductor.output.events import Warned
from conductor.plan.notification import Notification
from conductor.supervise.log import SupervisorLog


class Notifications:
    """Delivers the notifications about one service in order. A delivery that hangs delays no other service."""

    def __init__(self, notifier: Notifier, log: SupervisorLog) -> None:
        self._notifier = notifier
        self._log = log
        self._latest: dict[str | None, threading.Thread] = {}
        self._lock = threading.Lock()

    def are_configured(self, service: str) -> bool:
        """Return whether anybody is notified about a service."""
        return self._notifier.settings(service) is not None

    def put(self, notification: Notification) -> None:
        """Begin the delivery. Any thread may call this."""
        with self._lock:
            before = self._latest.get(notification.service)
            thread = threading.Thread(target=self._deliver, args=(notification, before), name="notify", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the host allows no more threads
                self._log.failed(f"{notification.service}.notify", error)
            else:
                self._latest[notification.service] = thread

    def wait(self, seconds: float | None = None) -> None:
        """Wait until everything is delivered, at most for `seconds` in all."""
        clock = self._notifier.clock
        until = None if seconds is None else clock.monotonic() + seconds
        for thread in list(self._latest.values()):
            thread.join(None if until is None else max(0.0, until - clock.monotonic()))

    def _deliver(self, notification: Notification, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        subject = f"{notification.service}.notify"
        try:
            problems = self._notifier.deliver([notification])
        except Exception as error:  # noqa: BLE001 (a bug here must not end the supervision)
            self._log.failed(subject, error)
            return
        for problem in problems:
            self._log.warned(subject, Warned(text=problem))
        if not problems:
            self._log.recovered(subject)
