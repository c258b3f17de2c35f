"""Removes each undo and recovery action of a change, and each protection, in turn, and shows which test fails without it.

Run by `tests/run mutations [WORDS]`, which takes only those whose description contains one of the words. Exit code 1 when
one can be removed and no test fails. Each mutant is a copy of the tree in a temporary directory; the repository is not
touched. Mutants that only nginx itself can judge need root. `tests/run mutations campaign`: what the campaign of faults notices.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TESTS = ("tests/unit/change",)
# File, the line that is removed (as it stands, without indentation), and what it does.
ACTIONS = [
    ("rollback.py", "remove_hooks(one)", "remove hook containers in a rollback"),
    ("rollback.py", "steps.undo_replace()", "start the old replicas of a stop-first service again"),
    ("rollback.py", "steps.undo_cutover()", "undo the cutover"),
    ("rollback.py", "steps.remove_new([(one, _grace(one)) for one in steps.services])", "remove the new replicas"),
    ("rollback.py", "_refuse_left_over(steps)", "keep the journal of a first deploy while its replicas are left"),
    ("rollback.py", "steps.end(outcome, cause)", "end the change after a rollback"),
    ("steps.py", "one.write_ahead(old_stopped=True)", "write ahead that old replicas are stopped"),
    (
        "steps.py",
        "self.remove_new([(one, one.definition.service.stop.grace)])",
        "stop the new replicas before the old start",
    ),
    (
        "stopping.py",
        "self._context.runtime.stop(replica.id, grace)",
        "stop an old replica in which before_stop has run",
    ),
    ("steps.py", 'refuse_running(one.old(), "new")', "refuse to start new replicas beside old ones"),
    ("steps.py", 'refuse_running(one.new(), "old")', "refuse to start old replicas beside new ones"),
    (
        "steps.py",
        "self.context.traffic.undo(made, ids, partial(self.record_cutover, services=services))",
        "restore the former routes",
    ),
    (
        "steps.py",
        "self._drain({endpoint for one in group for endpoint in one.journal.new_endpoints}, group)",
        "drain the new replicas after an undone cutover",
    ),
    ("steps.py", "one.write_ahead(cutover=cutover)", "write ahead the cutover"),
    ("steps.py", "one.write_ahead(canary=cutover)", "write ahead the cutover to a canary"),
    ("steps.py", "self.context.store.write_wanted(one.journal.new)", "commit"),
    ("steps.py", "self.context.traffic.switch(routes, self.record_cutover)", "complete the cutover in a recovery"),
    ("stopping.py", "self._context.runtime.remove(replica.id)", "remove a replica"),
    ("stopping.py", "self._context.runtime.signal(replica.id, stop.signal)", "send the stop signal without waiting"),
    (
        "stopping.py",
        "record_retiring(self._context, signalled, one.journal.old.live, stop.grace)",
        "record the replicas that are not waited for",
    ),
    ("steps.py", 'self._await_retiring("replace", one)', "wait for earlier replicas of a stop-first service"),
    ("steps.py", 'refuse_running(one.retiring(), "new")', "refuse to start beside an earlier replica that still runs"),
    ("steps.py", 'self._await_retiring("retire", one)', "wait for earlier replicas of a service that is stopped"),
    ("steps.py", "clean_up_retiring(self.context, one.service, self.warn)", "remove earlier replicas that have exited"),
    ("retiring.py", "context.runtime.remove(replica.id)", "remove a replica that was not waited for"),
    ("retiring.py", "store_log(context, replica, definition)", "keep its log"),
    ("stopping.py", "failures[replica.id] = change.run_before_stop(replica)", "run before_stop"),
    (
        "stopping.py",
        "texts.append(one.run_before_stop(replica))",
        "run before_stop in replicas that are not waited for",
    ),
    (
        "service_change.py",
        "self.write_ahead(reserved=(*self.journal.reserved, *reserved), new=self._with_environment(count, values))",
        "write ahead the addresses",
    ),
    (
        "service_change.py",
        "self.context.store.write_addresses(book.released(self.journal.change))",
        "release the addresses",
    ),
    ("service_change.py", "self.context.store.remove_journal(self.service)", "remove the journal"),
    (
        "service_change.py",
        "self.context.history.append(self._history_entry(outcome, warnings, cause, cut))",
        "write the history",
    ),
    ("change.py", "one.write_ahead()", "write the intent ahead"),
    ("recover.py", "await_hooks(one)", "wait for a hook that still runs"),
    ("recover.py", "roll_back(steps, Outcome.RECOVERED_ROLLED_BACK)", "roll back an uncommitted change in a recovery"),
    ("recover.py", "steps.resume()", "complete the commit and the cutover in a recovery"),
    ("recover.py", "steps.drain()", "drain in a recovery"),
    ("recover.py", "steps.retire()", "retire the old replicas in a recovery"),
    ("recover.py", "steps.crontab()", "install the crontab in a recovery"),
    ("recover.py", "steps.end(Outcome.RECOVERED)", "end the change in a recovery"),
]


class Mutant(NamedTuple):
    """`line` of the file below conductor/ is replaced by `instead`, and one of `tests` has to fail."""

    file: str
    line: str
    what: str
    tests: tuple[str, ...] = TESTS
    instead: str = "pass"


ON_NGINX = "tests/integration/test_announced_reloads.py"
POWER_LOSS = "tests/unit/change/test_power_loss.py"
MODEL, STALE = "tests/unit/change/test_interleavings.py", "tests/unit/supervise/test_stale_observations.py"
LEASES, RACES = "tests/unit/state/fleet/test_leases.py", "tests/unit/state/fleet/test_races.py"
PASSES = "tests/unit/supervise/test_fleet.py"
EDGE, ORDERS = "tests/unit/supervise/test_edge.py", "tests/unit/traffic/fleet/test_interleavings.py"
PROTECTIONS = [
    Mutant("change/service_change.py", "self.context.store.write_journal(self.journal)", "the journal"),
    Mutant("state/files.py", "os.fsync(handle)", "fsync of a file", (POWER_LOSS,)),
    Mutant("state/files.py", "temporary.replace(path)", "the rename", (POWER_LOSS,), "path.write_bytes(data)"),
    Mutant("state/files.py", "sync_directory(path.parent)", "fsync of the directory", (POWER_LOSS,)),
    Mutant(
        "state/locks.py", "self._acquire(handle, name, wait_seconds, fcntl.LOCK_EX)", "the lock",
        ("tests/unit/state/test_locks.py",),
    ),
    Mutant(
        "change/steps.py", "Gate(self.context, self._candidates(self.services)).check_again()",
        "the check of new replicas before the cutover",
    ),
    Mutant(
        "traffic/reload/drain.py", "proven = inspectable and waited > INSPECT_SECONDS and all(one.harmless for one in found)",
        "the proof of the drain", ("tests/unit/traffic/reload/test_drain.py",), "proven = True",
    ),
    Mutant(
        "traffic/reload/record.py", "quarantine += (Quarantined(tuple(sorted(leaving)), tuple(sorted(workers))),)",
        "the quarantine of addresses", ("tests/unit/traffic/reload/test_record.py",),
    ),
    Mutant(
        "traffic/render.py", "if not present.get(name, HEADER).startswith(HEADER):",
        "a file of the include directory that Conductor did not write", ("tests/unit/traffic/reload/test_include_dir.py",),
        "if False:",
    ),
    Mutant(
        "traffic/reload/include_dir.py", 'if (self.read(temporary.name) or "").startswith(HEADER):',
        "a temporary file that Conductor did not write", ("tests/unit/traffic/reload/test_include_dir.py",), "if True:",
    ),
    Mutant(
        "traffic/reload/reloader.py",
        "return self._prove(master, before, listeners | processes.listeners(master), generation, log)",
        "the proof of a reload", (ON_NGINX,), "return before",
    ),
    Mutant("traffic/reload/reloader.py", 'files.write_bytes(self._flag, b"", 0o644)', "the announcement", (ON_NGINX,)),
    Mutant(
        "traffic/reload/nginx_lock.py", "announced = self._flag.exists()", "the announcement of a killed process", (ON_NGINX,),
        "announced = files.remove(self._flag)",
    ),
    Mutant("traffic/reload/reloader.py", "before = living", "the reload of another program", (ON_NGINX,)),
    Mutant(
        "change/garbage.py", "with context.locks.hold(IMAGES):", "the lock of the images while one is removed", (MODEL,),
        "with contextlib.nullcontext():",
    ),
    Mutant(
        "change/upgrade.py", "until_recorded.enter_context(context.locks.share(IMAGES, IMAGES_SECONDS))",
        "the lock of the images while one is chosen", (MODEL,),
    ),
    Mutant(
        "change/cleanup.py", "if state.running is not overdue:", "the check of a task before its clean-up", (MODEL,),
        "if False:",
    ),
    Mutant(
        "change/cleanup.py", "return state if overdue or context.clock.age(state.since) >= after else None",
        "the time that the clean-up leaves a task", (MODEL,), "return state",
    ),
    Mutant(
        "supervise/act.py",
        "if context.store.wanted(service) != observation.wanted or context.store.journal(service) is not None:",
        "the check of the wanted state before an action of supervise", (STALE,),
        "if context.store.journal(service) is not None:",
    ),
    Mutant(
        "supervise/act.py",
        "if context.store.wanted(service) != observation.wanted or context.store.journal(service) is not None:",
        "the check of the journal before an action of supervise", (STALE,),
        "if context.store.wanted(service) != observation.wanted:",
    ),
    Mutant(
        "supervise/act.py", "if not _is_as_observed(replicas, observation, action):",
        "the check of the replicas before an action of supervise", (STALE,), "if False:",
    ),
    Mutant(
        "plan/lease.py", "if lease is None or lease.token != token:", "the refusal of a late holder of a lease", (RACES,),
        "if lease is None:",
    ),
    Mutant(
        "plan/lease.py", "seconds = self.seconds + min(at - self.at, LONGEST_STEP_SECONDS)",
        "the gaps between reads that do not count for a lease", (LEASES,), "seconds = self.seconds + at - self.at",
    ),
    Mutant("state/fleet/leases.py", "self.write(name, {})", "the renewal of a lease", (RACES,)),
    Mutant(
        "state/fleet/locks.py",
        "if watch.renewed and waited >= max(wait_seconds, YIELD_SECONDS if yields else 0.0):",
        "the wait for a sign of the holder of a lease", (RACES,), "if waited >= wait_seconds:",
    ),
    Mutant(
        "state/fleet/edges.py", "while (found := self.confirmation(requests, edges)).missing and not found.failed:",
        "the wait for every edge", ("tests/unit/state/fleet/test_edges.py",),
        "while (found := self.confirmation(requests, edges)).missing == tuple(sorted(edges)):",
    ),
    Mutant(
        "supervise/edge_routes.py", 'made = "" if one.switching else id_',
        "the refusal to undo to a switch that was not proven", (EDGE,), "made = id_",
    ),
    Mutant("supervise/edge.py", "self._gate(route, request.endpoints)", "the gate of an edge", (ORDERS,)),
    Mutant(
        "traffic/fleet/traffic.py", "return self._edges.known() | self._local.known()", "the quarantine of all edges", (EDGE,),
        "return self._local.known()",
    ),
    Mutant(
        "plan/edges.py", "return frozenset(endpoint for endpoint, count in counts.items() if 2 * count > len(views))",
        "the agreement of most edges about a failing replica", (PASSES,), "return frozenset(counts)",
    ),
    Mutant(
        "supervise/supervision_lease.py", "self.held = self._leases.take(SUPERVISION) is None",
        "the lease of the manager that acts", (PASSES,), "self.held = True",
    ),
    Mutant(
        "supervise/fleet_observe.py",
        "same = {id_ for id_, digest in digests.items() if all(one.get(id_) == digest for one in every)}",
        "the agreement of all edges about a definition", (PASSES,), "same = set(digests)",
    ),
    Mutant(
        "state/fleet/claims.py", "if found is not None and minute <= int(found.values[MINUTE]) <= minute + WRONG_CLOCK_MINUTES:",
        "the claim of a cron job", ("tests/unit/state/fleet/test_claims.py",), "if False:",
    ),
]  # fmt: skip
# The same protections, each noticed by the campaign of faults, its models, or another fault on the real parts.
CAMPAIGN = "tests/faults/test_campaign.py::test_one_release_serves_and_nothing_is_left"
KILLS = f"{CAMPAIGN}[reload-short-upgrade-of-a-web-service-kills]"
BY_CAMPAIGN = {
    "the journal": MODEL,
    "the rename": POWER_LOSS,
    "the lock": MODEL,
    "the check of new replicas before the cutover": "tests/unit/change/test_exits.py",
    "the proof of the drain": KILLS,
    "the proof of a reload": KILLS,
    "the announcement": KILLS,
    "the quarantine of addresses": "tests/integration/test_drain.py",
    "a file of the include directory that Conductor did not write": KILLS,
    "a temporary file that Conductor did not write": KILLS,
}
MUTANTS = [
    *(Mutant(f"change/{file}", line, what) for file, line, what in ACTIONS),
    *PROTECTIONS,
    *(
        one._replace(what=f"{one.what}, by the campaign", tests=(BY_CAMPAIGN[one.what],))
        for one in PROTECTIONS
        if one.what in BY_CAMPAIGN
    ),
]


def mutated(source: str, line: str, instead: str = "pass") -> str:
    """Return `source` with each line `line`, and its comment, replaced by `instead`."""
    pattern = re.compile(rf"^(\s*){re.escape(line)}(\s*#.*)?$", re.MULTILINE)
    text, count = pattern.subn(lambda found: f"{found[1]}{instead}", source)
    if not count:
        raise SystemExit(f"tests/mutations.py: there is no line {line!r} any more")
    return text


def failing_test(tree: Path, tests: Collection[str]) -> str:
    """Run the tests in `tree`; return the first that fails, or an empty string."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *sorted(tests)],
        cwd=tree, capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return found[1] if found else "" if done.returncode == 0 else f"exit code {done.returncode}"


def main() -> int:
    survived = 0
    with tempfile.TemporaryDirectory(prefix="conductor-mutations-") as directory:
        tree = Path(directory)
        for part in ("conductor", "tests", "pyproject.toml"):
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tree / part)
        chosen = [one for one in MUTANTS if not sys.argv[1:] or any(word in one.what for word in sys.argv[1:])]
        if os.geteuid() != 0:
            print("without root, mutants that need nginx are left out")
            chosen = [one for one in chosen if all(test.startswith("tests/unit/") for test in one.tests)]
        for test in sorted({test for one in chosen for test in one.tests}):  # by name, a test also runs if it is long
            if failing := failing_test(tree, [test]):
                raise SystemExit(f"tests/mutations.py: {failing} fails without a mutation")
        for one in chosen:
            path = tree / "conductor" / one.file
            source_text = path.read_text()
            path.write_text(mutated(source_text, one.line, one.instead))
            failing = failing_test(tree, one.tests)
            path.write_text(source_text)
            survived += not failing
            print(f"{one.what}: {failing or 'NO TEST FAILS'}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations are found")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
