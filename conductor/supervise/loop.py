"""The loop of `supervise`: look at everything, decide for each service, act side by side; woken by events, and in any
case every few seconds. Its own thread only keeps time: it waits for nobody.
"""

import os
import random
import secrets
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from conductor.change.doors import Doors
from conductor.clock import Clock
from conductor.definitions.load import Definitions
from conductor.errors import BusyError, ConductorError, GivenUp
from conductor.plan.supervision import Correct, Decision, Leave, Past, Revive, Situation, decide, remember
from conductor.state import files
from conductor.supervise.act import act
from conductor.supervise.notify import notify
from conductor.supervise.observe import Observer
from conductor.supervise.told import WARNING, Notes, ServiceNote, Teller, notes_file

PASS_SECONDS = 5.0  # the longest pause between two looks
# An event is looked at at once, and once more: the daemon's list is up to date 50 ms after its event (measured). So many
# looks may follow one another closely within a pass; then they are a second apart, however many events there are.
CLOSE_SECONDS, CLOSE_LOOKS, CALM_SECONDS = 0.1, 6, 1.0
TICK_SECONDS, BUSY_TICK_SECONDS = 0.25, 0.02
ACTIONS_AT_ONCE = 16


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
        woken: threading.Event,
        over: threading.Event,
    ) -> None:
        self._clock = clock
        self._teller = teller
        self._observer = observer
        self._open = open_doors
        self._definitions = definitions
        self._woken = woken
        self.over = over
        self._stamp: object = None
        self._pasts: dict[str, Past] = {}
        self._acting: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(ACTIONS_AT_ONCE, "action")
        self._look: ThreadPoolExecutor = ThreadPoolExecutor(1, "look")
        self._looking: Future[dict[str, Situation]] | None = None
        self._starts = threading.BoundedSemaphore(definitions().host.supervise.starts_at_once)
        self._looks = deque([float("-inf")], CLOSE_LOOKS)
        self._again = False
        self._away = True  # the daemon, as far as we know
        self._waits_for = ""
        self._noted: Notes | None = None
        self._since = clock.now()
        self._decisions: dict[str, Decision] = {}
        self.problem = ""  # of the definitions file, while the last good one stays in force

    def wake(self) -> None:
        """Look soon; called by any thread."""
        self._woken.set()

    def tick(self) -> None:
        """A step of the loop, at most `TICK_SECONDS` long."""
        if self._looking is not None and self._looking.done():
            self._seen(self._looking)
            self._looking = None
        now = self._clock.monotonic()
        since, woken = now - self._looks[-1], self._woken.is_set()
        least = CLOSE_SECONDS if now - self._looks[0] >= PASS_SECONDS else CALM_SECONDS
        if self._looking is None and (since >= PASS_SECONDS or ((woken or self._again) and since >= least)):
            self._woken.clear()
            self._again = woken
            self._looks.append(now)
            away = self._away
            self._looking = self._look.submit(lambda: self._observer.look(daemon_was_away=away))
        elif self._looking is None and not woken:
            self._woken.wait(CLOSE_SECONDS if self._again else TICK_SECONDS)
        else:
            self.over.wait(BUSY_TICK_SECONDS)

    def look_at_state(self) -> None:
        """Look soon when a state file is another one: somebody has deployed, scaled, paused."""
        stamp = self._observer.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self.wake()

    def end(self, seconds: float) -> None:
        """Wait so long for what is under way; it gives up between two steps, and its journal says where it was."""
        wait(list(self._acting.values()), seconds)

    def one_pass(self) -> None:
        """`--once`: look, act, and wait for what was begun."""
        self._seen(self._look.submit(lambda: self._observer.look(daemon_was_away=True)))
        for future in list(self._acting.values()):
            future.result()

    def _seen(self, look: Future[dict[str, Situation]]) -> None:
        try:
            situations = look.result()
        except ConductorError as error:  # unknown is not dead: nothing is done
            self._away = True
            if self._waits_for != error.sentence:
                self._waits_for = error.sentence
                self._teller.say(f"waiting for Docker: {error.sentence}", WARNING)
            self._note()
            return
        if self._waits_for:
            self._waits_for = ""
            self._teller.say("Docker answers")
        self._away = False
        for service, problem in self._observer.problems.items():
            self._teller.failed(service, problem)
        self._decisions = {}
        for service, situation in situations.items():
            if service not in self._acting:
                self._decide(service, situation)
        self._note()

    def _decide(self, service: str, situation: Situation) -> None:
        now = self._clock.monotonic()
        past = remember(self._pasts.get(service) or self._first(situation, now), situation, now)
        self._pasts[service] = past
        jitter = random.Random(f"{service} {past.attempts}").random()  # the same at every look, another one each time
        decided = decide(situation, past, now, jitter)
        self._decisions[service] = decided
        if isinstance(decided, Leave):
            if decided.until is None and not situation.paused:
                self._teller.well(service)
            return
        self._acting[service] = self._pool.submit(self._act, service, situation, decided)

    def _first(self, situation: Situation, now: float) -> Past:
        """After a restart of ours: the containers say when somebody last acted."""
        made = [one.container.created for one in situation.seen if one.container.created]
        release = situation.wanted.release
        last = now - max(0.0, self._clock.wall() - max(made)) if made else None
        return Past(release=release.change if release else "", last=last)

    def _act(self, service: str, situation: Situation, decided: Decision) -> None:
        starts = isinstance(decided, Revive) or (isinstance(decided, Correct) and decided.count > len(decided.keep))
        why = decided.why if isinstance(decided, Correct) else type(decided).__name__.lower()
        failed = False
        try:
            if starts:
                self._starts.acquire()
            try:
                doors = self._open(service)
                self._teller.acting(service, why)
                act(doors, service, decided, situation.wanted, secrets.token_hex(4))  # type: ignore[arg-type]
            finally:
                if starts:
                    self._starts.release()
        except BusyError:
            return
        except GivenUp:
            self._teller.say(f"{service}: given up, somebody else wants it")
            return
        except ConductorError as error:
            failed = True
            self._teller.failed(service, "\n".join([error.sentence, *error.details]))
        except Exception as error:  # noqa: BLE001 (a bug in one service's action must not end the others' supervision)
            failed = True
            self._teller.failed(service, f"this is a bug in Conductor: {type(error).__name__}: {error}")
        finally:
            past = self._pasts[service]
            if failed or starts:
                self._pasts[service] = Past(
                    release=past.release, attempts=past.attempts + 1, last=self._clock.monotonic(), calm_since=None
                )
            self._acting.pop(service, None)
            self.wake()
        self._teller.done(service, why)

    def _note(self) -> None:
        """For `status`, and in a sentence for systemd."""
        services = {}
        for service, decided in self._decisions.items():
            if isinstance(decided, Leave) and decided.why == "as wanted":
                continue
            until = getattr(decided, "until", None)
            wait = "" if until is None else self._clock.later(until - self._clock.monotonic())
            why = getattr(decided, "why", "") or type(decided).__name__.lower()
            services[service] = ServiceNote(why=why, until=wait, attempts=self._pasts[service].attempts)
        for service, problem in self._observer.problems.items():
            services[service] = ServiceNote(why=problem)
        backing_off = sum(bool(note.until) for note in services.values())
        text = f"{len(self._pasts)} services, {self._observer.containers} containers"
        text += f", {backing_off} backing off" if backing_off else ""
        text = f"waiting for Docker: {self._waits_for}" if self._waits_for else text
        runtime = self._definitions().host.runtime_dir
        notes = Notes(pid=os.getpid(), since=self._since, text=text, problem=self.problem, services=services)
        if notes != self._noted:
            self._noted = notes
            notify(STATUS=text)
            try:
                files.write(notes_file(runtime), notes)
            except ConductorError as error:
                self._teller.failed("status", error.sentence)
