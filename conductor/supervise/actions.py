"""The actions in progress: at most one per service, each in a thread of its own, and a limit on starts."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from enum import Enum, auto

from conductor.errors import BusyError, LockYielded
from conductor.plan.reconcile import Action, ApplyDrift, Observation, Repair, Start
from conductor.supervise.act import act
from conductor.supervise.contexts import Contexts
from conductor.supervise.log import SupervisorLog
from conductor.supervise.repair_traffic import Conditions
from conductor.supervise.start_limit import StartLimit

ACTIONS_AT_ONCE = 256  # so that slow actions do not delay those of other services


class ActionEnd(Enum):
    """How an action ended."""

    DONE = auto()
    FAILED = auto()
    YIELDED = auto()
    SKIPPED = auto()  # the service was busy or had changed; nothing was done


class InProgress:
    """Work in progress by name: the id of a service, or a name that no service has. `wake` requests a pass.

    Work that yields its lock ends there; what it left is due again.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pool = ThreadPoolExecutor(ACTIONS_AT_ONCE, "action")
        self._futures: dict[str, Future[None]] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._futures

    @property
    def names(self) -> frozenset[str]:
        """The names of the work in progress. Finished work is included until `forget_finished`."""
        return frozenset(self._futures)

    def submit(self, name: str, work: Callable[[], None], *, wakes: bool = False) -> None:
        """Begin `work` in a thread. With `wakes` a pass follows its end."""

        def yielding() -> None:
            with contextlib.suppress(LockYielded):
                work()

        future = self._futures[name] = self._pool.submit(yielding)
        if wakes:
            future.add_done_callback(lambda _: self._wake())

    def forget_finished(self) -> None:
        """Remove what has finished."""
        self._futures = {name: future for name, future in self._futures.items() if not future.done()}

    def wait(self, seconds: float) -> None:
        """Wait until everything has finished, at most for `seconds`."""
        wait(list(self._futures.values()), seconds)

    def finish(self) -> None:
        """Wait until everything has finished, and raise what it raised."""
        for future in list(self._futures.values()):
            future.result()


class Actions:
    """Carries out actions and logs them. `ended` is set when `supervise` ends; `conditions` are those of running replicas.
    `may_act` returns False when another manager of a fleet acts."""

    def __init__(
        self,
        contexts: Contexts,
        log: SupervisorLog,
        starts_at_once: int,
        ended: threading.Event,
        conditions: Conditions,
        *,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._conditions = conditions
        self._contexts = contexts
        self._log = log
        self._may_act = may_act
        self._start_limit = StartLimit(starts_at_once, ended)

    def carry_out(
        self, service: str, action: Action, observation: Observation, change: str, is_current: Callable[[], bool]
    ) -> ActionEnd:
        """Carry out one action; return how it ended. Errors are only logged.

        A start may wait for its turn. An action is skipped if the definitions were read again meanwhile.
        """
        began = False

        def started(reason: str) -> None:
            nonlocal began
            began = True
            self._log.started(service, action, reason)

        try:
            with self._start_limit.slot() if _starts(action) else contextlib.nullcontext():
                if not is_current() or not self._may_act():
                    return ActionEnd.SKIPPED
                context = self._contexts.for_action(service)
                done = act(context, service, action, observation, change, started=started, conditions=self._conditions)
        except LockYielded:
            self._log.yielded(service, action)
            return ActionEnd.YIELDED
        except Exception as error:  # noqa: BLE001 (a bug in one service's action must not end the supervision of others)
            if isinstance(error, BusyError) and not began:
                return ActionEnd.SKIPPED
            self._log.failed(service, error)
            return ActionEnd.FAILED
        if done:
            self._log.done(service, action)
        return ActionEnd.DONE if done else ActionEnd.SKIPPED


def _starts(action: Action) -> bool:
    return isinstance(action, Start | ApplyDrift) or (isinstance(action, Repair) and action.starts)
