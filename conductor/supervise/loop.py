"""The loop of `supervise`: when passes run. Events wake it, and a pass runs every few seconds in any case.

Passes and actions run in threads of their own, so the loop waits for none of them.
"""

import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from conductor.clock import Clock
from conductor.health.monitor import HealthMonitor
from conductor.supervise.observe import HostObservation, Observer
from conductor.supervise.pass_results import PassResults
from conductor.supervise.runtime_state import RuntimeState
from conductor.supervise.schedule import REPEAT_SECONDS, PassScheduler

TICK_SECONDS = 0.25
STUCK_SECONDS = 180.0  # a pass makes at most two calls to the daemon, of 60 s each, and reads small files


class Loop:
    """Runs passes of `observer` and gives them to `results`. `ended` is set when `supervise` ends."""

    def __init__(
        self, clock: Clock, observer: Observer, results: PassResults, runtime: RuntimeState, ended: threading.Event
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._results = results
        self._runtime = runtime
        self.ended = ended
        self._woken = threading.Event()
        self._scheduler = PassScheduler()
        self._executor = ThreadPoolExecutor(1, "pass")
        self._pass: Future[HostObservation] | None = None
        self._pass_began = 0.0
        self._stamp: object = None

    def wake(self) -> None:
        """Run a pass within a second. Any thread may call this."""
        self._scheduler.request()
        self._woken.set()

    def wake_now(self) -> None:
        """Run a pass now, unless that is too often. Any thread may call this."""
        self._scheduler.request_now(self._clock.monotonic())
        self._woken.set()

    def events_lost(self) -> None:
        """Run a pass that assumes that the runtime has restarted. Any thread may call this."""
        self._runtime.may_have_restarted = True
        self.wake()

    @property
    def is_stuck(self) -> bool:
        """True when a pass does not end: a disk that does not answer, or a daemon whose answer never ends."""
        return self._pass is not None and self._clock.monotonic() - self._pass_began > STUCK_SECONDS

    def check_state_files(self) -> None:
        """Run a pass soon when a command has changed a wanted state or a journal."""
        stamp = self._observer.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self.wake()

    def tick(self) -> None:
        """Run one step of the loop, which takes at most `TICK_SECONDS`."""
        pause = TICK_SECONDS if self._pass else min(TICK_SECONDS, self._scheduler.next - self._clock.monotonic())
        if pause > 0:
            self._woken.wait(pause)
        self._woken.clear()
        if self._pass is not None and self._pass.done():
            result, self._pass = self._pass, None
            self._results.take(result, self._clock.monotonic() - self._pass_began)
        now = self._clock.monotonic()
        if self._pass is None and now >= self._scheduler.next:
            self._scheduler.begin(now)
            self._pass_began = now
            self._pass = self._begin(runtime_restarted=self._runtime.begin_pass())
            self._pass.add_done_callback(lambda _: self._woken.set())

    def _begin(self, *, runtime_restarted: bool) -> Future[HostObservation]:
        return self._executor.submit(lambda: self._observer.observe(runtime_restarted=runtime_restarted))

    def one_pass(self, monitor: HealthMonitor) -> None:
        """Wait until the condition of every replica is known, then run one pass."""
        with contextlib.suppress(Exception):  # the pass that follows reports it
            self._observer.observe(runtime_restarted=True)
            while not monitor.is_conclusive:
                self.ended.wait(REPEAT_SECONDS)
        result = self._begin(runtime_restarted=True)
        self._results.take(result)
