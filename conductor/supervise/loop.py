"""The loop of `supervise`: look at everything, decide for each service, act side by side; woken by events, and in any
case every few seconds. Its own thread only keeps time: it waits for nobody.
"""

import contextlib
import functools
import random
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from math import inf

import msgspec

from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.load import Definitions
from conductor.errors import BusyError, ConductorError, LockYielded
from conductor.health.monitor import HealthMonitor
from conductor.plan.reconcile import (
    Action,
    Apply,
    Correct,
    Decision,
    Leave,
    Observation,
    Past,
    Point,
    Revive,
    Settle,
    decide,
    reason,
    remember,
    tried,
)
from conductor.runtime.port import Change
from conductor.supervise.act import act, load_files, reap_tasks
from conductor.supervise.log import WARNING, SupervisorLog
from conductor.supervise.observe import Observer
from conductor.supervise.schedule import AGAIN_SECONDS, PASS_SECONDS, PassScheduler
from conductor.supervise.start_limit import StartLimit
from conductor.supervise.status_file import Noter

TICK_SECONDS = 0.25
REAP_SECONDS = 60.0
NGINX = "nginx"  # no service has this id
ACTIONS_AT_ONCE = 256  # one for each service: those that take long keep no other one waiting


class Loop:
    """`open_context(service)` gives context for one action, whose clock gives up when the service's lock is wanted."""

    def __init__(
        self,
        *,
        clock: Clock,
        teller: SupervisorLog,
        observer: Observer,
        open_context: Callable[[str], Context],
        definitions: Callable[[], Definitions],
        over: threading.Event,
    ) -> None:
        self._clock = clock
        self._teller = teller
        self._observer = observer
        self._open = open_context
        self._definitions = definitions
        self.over = over
        self._stir = threading.Event()
        self._pace = PassScheduler()
        self._stamp: object = None
        self._pasts: dict[str, Past] = {}
        self._acting: dict[str, Future[None]] = {}
        self._back: set[str] = set()  # services that are as the daemon was left, as far as we know
        self._pool = ThreadPoolExecutor(ACTIONS_AT_ONCE, "action")
        self._look: ThreadPoolExecutor = ThreadPoolExecutor(1, "look")
        self._looking: Future[dict[str, Observation]] | None = None
        self._turns = StartLimit(definitions().host.supervise.starts_at_once, over)
        self._away = True  # the daemon, as far as we know
        self._load_at = -inf  # when it is to be seen to that nginx has loaded what is on disk
        self._waits_for = ""
        self._noter = Noter(definitions().host.runtime_dir, clock, teller)
        self._decisions: dict[str, Decision] = {}
        self._reaped: dict[str, float] = {}
        self.problem = ""  # of the definitions file, while the last good one stays in force

    def wake(self) -> None:
        """Look within a second; called by any thread."""
        self._pace.wake()
        self._stir.set()

    def urge(self) -> None:
        """Look now, if that is not too often; called by any thread."""
        self._pace.urge(self._clock.monotonic())
        self._stir.set()

    def heard(self, change: Change) -> None:
        """What the daemon has told; what dies of a service that is being acted on is expected to."""
        expected = not change.fewer or change.service in self._acting
        if change.died and not expected:
            self._observer.died[change.container] = self._clock.monotonic()
        else:
            self._observer.died.pop(change.container, None)
        if expected:
            self.wake()
        else:
            self.urge()

    def lost(self) -> None:
        """The daemon has ended its stream of events: what does not run now may have stopped with it; called by any thread."""
        self._away = True
        self.wake()

    def tick(self) -> None:
        """A step of the loop, at most `TICK_SECONDS` long."""
        pause = TICK_SECONDS if self._looking else min(TICK_SECONDS, self._pace.next - self._clock.monotonic())
        if pause > 0:
            self._stir.wait(pause)
        self._stir.clear()
        if self._looking is not None and self._looking.done():
            look, self._looking = self._looking, None
            self._seen(look)
        now = self._clock.monotonic()
        if self._looking is None and now >= self._pace.next:
            self._pace.looks(now)
            away = self._away
            self._looking = self._look.submit(lambda: self._observer.look(daemon_was_away=away))
            self._looking.add_done_callback(lambda _: self._stir.set())

    def look_at_state(self) -> None:
        """Look soon when a state file is another one: somebody has deployed, scaled, paused."""
        stamp = self._observer.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self.wake()

    def end(self, seconds: float) -> None:
        """Wait so long for what is under way; it gives up between two steps, and its journal says where it was."""
        wait(list(self._acting.values()), seconds)

    def one_pass(self, watcher: HealthMonitor) -> bool:
        """`--once`: see how everybody is, act, and wait for what was begun; whether all of it went well."""
        look = functools.partial(self._observer.look, daemon_was_away=True)
        with contextlib.suppress(Exception):  # the look that follows says it
            look()
            while not watcher.is_sure:
                self.over.wait(AGAIN_SECONDS)
        self._seen(self._look.submit(look))
        for future in list(self._acting.values()):
            future.result()
        return not self._waits_for and not self._observer.problems and not self._teller.troubled

    def _seen(self, look: Future[dict[str, Observation]]) -> None:
        try:
            observations = look.result()
        except Exception as error:  # noqa: BLE001 (unknown is not dead: nothing is done; nor does a bug end us)
            self._away = True
            why = said(error)
            if self._waits_for != why:
                self._waits_for = why
                self._teller.say(f"waiting for Docker: {why}", WARNING)
            self._note()
            return
        if self._waits_for:
            self._waits_for = ""
            self._teller.say("Docker answers")
        if self._away:
            self._away, self._back = False, set(self._observer.services)
        for service, problem in self._observer.problems.items():
            self._teller.failed(service, problem)
        self._acting = {service: future for service, future in self._acting.items() if not future.done()}
        self._decisions = {s: d for s, d in self._decisions.items() if s in self._acting}
        now = self._clock.monotonic()
        if now >= self._load_at and NGINX not in self._acting and any(s.served for s in observations.values()):
            self._load_at = inf
            self._acting[NGINX] = self._pool.submit(self._load_files)
        for service, observation in observations.items():
            if service not in self._acting:
                self._decide_safely(service, observation)
        for service in self._observer.to_reap - self._acting.keys():
            if service not in observations or not observations[service].paused:
                self._reap(service)
        self._note()

    def _note(self) -> None:
        self._noter.note(self._decisions, self._pasts, self._observer, self._waits_for, self.problem)

    def _load_files(self) -> None:
        try:
            load_files(self._open(""))
        except Exception as error:  # noqa: BLE001 (as in `_act`)
            self._load_at = self._clock.monotonic() + PASS_SECONDS
            self._teller.failed(NGINX, said(error))
        else:
            self._teller.well(NGINX)

    def _decide_safely(self, service: str, observation: Observation) -> None:
        try:
            self._decide(service, observation)
        except Exception as error:  # noqa: BLE001 (a bug in one service's decision must not end the others' supervision)
            self._teller.failed(service, said(error))

    def _decide(self, service: str, observation: Observation) -> None:
        now = self._clock.monotonic()
        past = remember(self._pasts.get(service) or self._first(observation, now), observation, now)
        if service in self._back:
            observation = msgspec.structs.replace(observation, daemon_was_away=True)
        jitter = random.Random(f"{service} {past.attempts}").random()  # the same at every look, another one each time
        decided = decide(observation, past, now, jitter)
        self._pasts[service], self._decisions[service] = past, decided
        waits = isinstance(decided, Leave) and decided.until is not None
        if not isinstance(decided, Settle | Revive) and not observation.paused and not waits:
            self._back.discard(service)
        if isinstance(decided, Leave):
            if decided.until is None and not observation.paused:
                self._teller.well(service)
            return
        if not isinstance(decided, Settle | Point):  # noted before it begins: we may be killed on the way
            self._pasts[service] = msgspec.structs.replace(past, last=now)
        self._acting[service] = self._pool.submit(self._act, service, observation, decided, past.last)
        self._acting[service].add_done_callback(lambda _: self.wake())

    def _reap(self, service: str) -> None:
        """Now and then, when there is nothing else to do for it."""
        now = self._clock.monotonic()
        if now - self._reaped.get(service, -inf) >= REAP_SECONDS:
            self._reaped[service] = now
            self._acting[service] = self._pool.submit(lambda: reap_tasks(self._open(service), service))

    def _first(self, observation: Observation, now: float) -> Past:
        """After a restart of ours: our notes and the containers say when somebody last acted."""
        note = self._noter.former.get(observation.wanted.service)
        acted = [one.container.created for one in observation.seen if one.container.created]
        acted += [note.last] if note is not None and note.last is not None else []
        last = now - max(0.0, self._clock.wall() - max(acted)) if acted else None
        attempts = note.attempts if note is not None and note.change == observation.wanted.change else 0
        return Past(change=observation.wanted.change, attempts=attempts, last=last)

    def _act(self, service: str, observation: Observation, decided: Action, last: float | None) -> None:
        why = reason(decided)
        change = secrets.token_hex(4)
        self._pasts[service] = msgspec.structs.replace(self._pasts[service], ours=change)
        begun = done = failed = False

        def begins() -> None:
            nonlocal begun
            begun = True
            self._teller.acting(service, why)

        try:
            with self._turns.turn() if _starts(decided) else contextlib.nullcontext():
                done = act(self._open(service), service, decided, observation, change, begins=begins)
        except LockYielded:
            done, self._load_at = True, -inf
            self._teller.say(f"{service}: given up, somebody else wants it")
            return
        except Exception as error:  # noqa: BLE001 (a bug in one service's action must not end the others' supervision)
            if isinstance(error, BusyError) and not begun:
                return
            failed, self._load_at = True, -inf
            self._back.discard(service)
            self._teller.failed(service, "\n".join([said(error), *getattr(error, "details", ())]))
        finally:
            past = self._pasts[service]
            if done or failed:
                self._pasts[service] = tried(past, decided, self._clock.monotonic(), failed=failed)
            else:
                self._pasts[service] = msgspec.structs.replace(past, last=last)
        if done:
            self._teller.done(service, why)


def _starts(decided: Decision) -> bool:
    return isinstance(decided, Revive | Apply) or (isinstance(decided, Correct) and decided.starts)


def said(error: BaseException) -> str:
    """In a sentence."""
    return (
        error.sentence
        if isinstance(error, ConductorError)
        else f"this is a bug in Conductor: {type(error).__name__}: {error}"
    )
