"""The loop of `supervise`: look at everything, decide for each service, act side by side; woken by events, and in any
case every few seconds. Its own thread only keeps time: it waits for nobody.
"""

import contextlib
import functools
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from math import inf

import msgspec

from conductor.change.doors import Doors
from conductor.clock import Clock
from conductor.definitions.load import Definitions
from conductor.engine.ports import Change
from conductor.errors import BusyError, ConductorError, GivenUp
from conductor.plan.supervision import (
    Action,
    Apply,
    Correct,
    Decision,
    Leave,
    Past,
    Revive,
    Settle,
    Situation,
    decide,
    reason,
    remember,
    tried,
)
from conductor.supervise.act import act, load_files, reap_tasks
from conductor.supervise.noting import Noter
from conductor.supervise.observe import Observer
from conductor.supervise.told import WARNING, Teller
from conductor.supervise.watcher import Watcher

PASS_SECONDS = 5.0  # the longest pause between two looks
# What has died is looked at soon, and once more. So many looks may follow one another closely within a pass; then they
# are a second apart, as after all else that happens.
AGAIN_SECONDS = 0.15
CLOSE_SECONDS, CLOSE_LOOKS, CALM_SECONDS = 0.1, 12, 1.0
TICK_SECONDS = 0.25
REAP_SECONDS = 60.0
NGINX = "nginx"  # no service has this id
ACTIONS_AT_ONCE = 256  # one for each service: those that take long keep no other one waiting
START_SECONDS = 5.0  # a start counts for `starts_at_once` no longer, so that those that hang keep no other one waiting


class Loop:
    """`open_doors(service)` gives doors for one action, whose clock gives up when the service's lock is wanted."""

    def __init__(
        self,
        *,
        clock: Clock,
        teller: Teller,
        observer: Observer,
        open_doors: Callable[[str], Doors],
        definitions: Callable[[], Definitions],
        over: threading.Event,
    ) -> None:
        self._clock = clock
        self._teller = teller
        self._observer = observer
        self._open = open_doors
        self._definitions = definitions
        self.over = over
        self._stir = threading.Event()
        self._woken = False
        self._urgent: float | None = None
        self._stamp: object = None
        self._pasts: dict[str, Past] = {}
        self._acting: dict[str, Future[None]] = {}
        self._back: set[str] = set()  # services that are as the daemon was left, as far as we know
        self._pool = ThreadPoolExecutor(ACTIONS_AT_ONCE, "action")
        self._look: ThreadPoolExecutor = ThreadPoolExecutor(1, "look")
        self._looking: Future[dict[str, Situation]] | None = None
        self._starts = threading.BoundedSemaphore(definitions().host.supervise.starts_at_once)
        self._looks = deque([float("-inf")], CLOSE_LOOKS)
        self._again: float | None = None
        self._away = True  # the daemon, as far as we know
        self._load_at = -inf  # when it is to be seen to that nginx has loaded what is on disk
        self._waits_for = ""
        self._noter = Noter(definitions().host.runtime_dir, clock, teller)
        self._decisions: dict[str, Decision] = {}
        self._reaped: dict[str, float] = {}
        self.problem = ""  # of the definitions file, while the last good one stays in force

    def wake(self) -> None:
        """Look within a second; called by any thread."""
        self._woken = True
        self._stir.set()

    def urge(self) -> None:
        """Look now, if that is not too often; called by any thread."""
        self._urgent = self._clock.monotonic()
        self.wake()

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
        pause = TICK_SECONDS if self._looking else min(TICK_SECONDS, self._next() - self._clock.monotonic())
        if pause > 0:
            self._stir.wait(pause)
        self._stir.clear()
        if self._looking is not None and self._looking.done():
            look, self._looking = self._looking, None
            self._seen(look)
        now = self._clock.monotonic()
        if self._looking is None and now >= self._next():
            urgent, self._woken, self._urgent = self._urgent is not None, False, None
            self._again = now + AGAIN_SECONDS if urgent and self._again is None else None
            self._looks.append(now)
            away = self._away
            self._looking = self._look.submit(lambda: self._observer.look(daemon_was_away=away))
            self._looking.add_done_callback(lambda _: self._stir.set())

    def _next(self) -> float:
        """When to look again; after what was urgent once more, lest the daemon's list was late."""
        last = self._looks[-1]
        urgent = min(moment for moment in (self._urgent, self._again, inf) if moment is not None)
        at = last + (CALM_SECONDS if self._woken or urgent < inf else PASS_SECONDS)
        return min(at, max(urgent, last + CLOSE_SECONDS, self._looks[0] + PASS_SECONDS))

    def look_at_state(self) -> None:
        """Look soon when a state file is another one: somebody has deployed, scaled, paused."""
        stamp = self._observer.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self.wake()

    def end(self, seconds: float) -> None:
        """Wait so long for what is under way; it gives up between two steps, and its journal says where it was."""
        wait(list(self._acting.values()), seconds)

    def one_pass(self, watcher: Watcher) -> bool:
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

    def _seen(self, look: Future[dict[str, Situation]]) -> None:
        try:
            situations = look.result()
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
            self._away, self._back = False, {*situations, *self._acting}
        for service, problem in self._observer.problems.items():
            self._teller.failed(service, problem)
        self._acting = {service: future for service, future in self._acting.items() if not future.done()}
        self._decisions = {s: d for s, d in self._decisions.items() if s in self._acting}
        now = self._clock.monotonic()
        if now >= self._load_at and NGINX not in self._acting and any(s.served for s in situations.values()):
            self._load_at = inf
            self._acting[NGINX] = self._pool.submit(self._load_files)
        for service, situation in situations.items():
            if service not in self._acting:
                self._decide_safely(service, situation)
        for service in self._observer.to_reap - self._acting.keys():
            if service not in situations or not situations[service].paused:
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

    def _decide_safely(self, service: str, situation: Situation) -> None:
        try:
            self._decide(service, situation)
        except Exception as error:  # noqa: BLE001 (a bug in one service's decision must not end the others' supervision)
            self._teller.failed(service, said(error))

    def _decide(self, service: str, situation: Situation) -> None:
        now = self._clock.monotonic()
        past = remember(self._pasts.get(service) or self._first(situation, now), situation, now)
        if service in self._back:
            situation = msgspec.structs.replace(situation, daemon_was_away=True)
        jitter = random.Random(f"{service} {past.attempts}").random()  # the same at every look, another one each time
        decided = decide(situation, past, now, jitter)
        self._pasts[service], self._decisions[service] = past, decided
        waits = isinstance(decided, Leave) and decided.until is not None
        if not isinstance(decided, Settle) and not situation.paused and not waits:
            self._back.discard(service)
        if isinstance(decided, Leave):
            if decided.until is None and not situation.paused:
                self._teller.well(service)
            return
        self._acting[service] = self._pool.submit(self._act, service, situation, decided)
        self._acting[service].add_done_callback(lambda _: self.wake())

    def _reap(self, service: str) -> None:
        """Now and then, when there is nothing else to do for it."""
        now = self._clock.monotonic()
        if now - self._reaped.get(service, -inf) >= REAP_SECONDS:
            self._reaped[service] = now
            self._acting[service] = self._pool.submit(lambda: reap_tasks(self._open(service), service))

    def _first(self, situation: Situation, now: float) -> Past:
        """After a restart of ours: our notes and the containers say when somebody last acted."""
        note = self._noter.former.get(situation.wanted.service)
        acted = [one.container.created for one in situation.seen if one.container.created]
        acted += [note.last] if note is not None and note.last is not None else []
        last = now - max(0.0, self._clock.wall() - max(acted)) if acted else None
        attempts = note.attempts if note is not None and note.change == situation.wanted.change else 0
        return Past(change=situation.wanted.change, attempts=attempts, last=last)

    def _act(self, service: str, situation: Situation, decided: Action) -> None:
        why = reason(decided)
        change = secrets.token_hex(4)
        self._pasts[service] = msgspec.structs.replace(self._pasts[service], ours=change)
        done = failed = False
        try:
            with self._starting(decided):
                begins = functools.partial(self._teller.acting, service, why)
                done = act(self._open(service), service, decided, situation, change, begins=begins)
        except BusyError:
            return
        except GivenUp:
            done, self._load_at = True, -inf
            self._teller.say(f"{service}: given up, somebody else wants it")
            return
        except Exception as error:  # noqa: BLE001 (a bug in one service's action must not end the others' supervision)
            failed, self._load_at = True, -inf
            self._teller.failed(service, "\n".join([said(error), *getattr(error, "details", ())]))
        finally:
            if done or failed:
                self._pasts[service] = tried(self._pasts[service], decided, self._clock.monotonic(), failed=failed)
        if done:
            self._teller.done(service, why)

    @contextlib.contextmanager
    def _starting(self, decided: Decision) -> Iterator[None]:
        """Wait for one's turn to start something, and give it on when it is done, or takes long."""
        starts = isinstance(decided, Revive | Apply) or (
            isinstance(decided, Correct) and decided.count > len(decided.keep)
        )
        if not starts:
            yield
            return
        while not self._starts.acquire(timeout=TICK_SECONDS):
            if self.over.is_set():
                raise GivenUp
        once = threading.Lock()

        def give_on() -> None:
            if once.acquire(blocking=False):
                self._starts.release()

        turn = threading.Timer(START_SECONDS, give_on)
        turn.daemon = True
        turn.start()
        try:
            yield
        finally:
            turn.cancel()
            give_on()


def said(error: BaseException) -> str:
    """In a sentence."""
    return (
        error.sentence
        if isinstance(error, ConductorError)
        else f"this is a bug in Conductor: {type(error).__name__}: {error}"
    )
