"""Removes each undo and recovery action of a change in turn, and shows which test fails without it.

Run by `tests/run mutations [WORDS]`, which takes only actions whose description contains one of the words. Exit code 1 when an action can be removed and no test fails. Each mutant is a copy of the tree
in a temporary directory; the repository is not touched.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ["tests/unit/change"]
# File, the line that is removed (as it stands, without indentation), and what it does.
ACTIONS = [
    ("rollback.py", "remove_hooks(one)", "remove hook containers in a rollback"),
    ("rollback.py", "steps.undo_replace()", "start the old replicas of a stop-first service again"),
    ("rollback.py", "steps.undo_cutover()", "undo the cutover"),
    ("rollback.py", "steps.remove_new([(one, _grace(one)) for one in steps.services])", "remove the new replicas"),
    ("rollback.py", "steps.end(outcome)", "end the change after a rollback"),
    ("steps.py", "one.write_ahead(old_stopped=True)", "write ahead that old replicas are stopped"),
    (
        "steps.py",
        "self.remove_new([(one, one.definition.service.stop.grace)])",
        "stop the new replicas before the old start",
    ),
    ("steps.py", 'refuse_running(one.old(), "new")', "refuse to start new replicas beside old ones"),
    ("steps.py", 'refuse_running(one.new(), "old")', "refuse to start old replicas beside new ones"),
    ("steps.py", "self.context.traffic.undo(cutover, services, self.record_cutover)", "restore the former routes"),
    (
        "steps.py",
        "self._drain({endpoint for one in self._routed for endpoint in one.journal.new_endpoints})",
        "drain the new replicas after an undone cutover",
    ),
    ("steps.py", "one.write_ahead(cutover=cutover)", "write ahead the cutover"),
    ("steps.py", "self.context.store.write_wanted(one.journal.new)", "commit"),
    ("steps.py", "self.context.traffic.switch(routes, self.record_cutover)", "complete the cutover in a recovery"),
    ("steps.py", "self.context.runtime.remove(replica.id)", "remove a replica"),
    (
        "service_change.py",
        "self.write_ahead(reserved=(*self.journal.reserved, *reserved))",
        "write ahead the addresses",
    ),
    (
        "service_change.py",
        "self.context.store.write_addresses(book.released(self.journal.change))",
        "release the addresses",
    ),
    ("service_change.py", "self.context.store.remove_journal(self.service)", "remove the journal"),
    ("service_change.py", "self.context.history.append(self._history_entry(outcome, warnings))", "write the history"),
    ("change.py", "one.write_ahead()", "write the intent ahead"),
    ("recover.py", "await_hooks(one)", "wait for a hook that still runs"),
    ("recover.py", "roll_back(steps, Outcome.RECOVERED_BACK)", "roll back an uncommitted change in a recovery"),
    ("recover.py", "steps.resume()", "complete the commit and the cutover in a recovery"),
    ("recover.py", "steps.drain()", "drain in a recovery"),
    ("recover.py", "steps.retire()", "retire the old replicas in a recovery"),
    ("recover.py", "steps.crontab()", "install the crontab in a recovery"),
    ("recover.py", "steps.end(Outcome.RECOVERED)", "end the change in a recovery"),
]


def mutated(source: str, line: str) -> str:
    """Return `source` with each line `line`, and its comment, replaced by `pass`."""
    pattern = re.compile(rf"^(\s*){re.escape(line)}(\s*#.*)?$", re.MULTILINE)
    text, count = pattern.subn(r"\1pass", source)
    if not count:
        raise SystemExit(f"tests/mutations.py: there is no line {line!r} any more")
    return text


def failing_test(tree: Path) -> str:
    """Run the tests in `tree`; return the first that fails, or an empty string."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=tree, capture_output=True, text=True, check=False, timeout=600,
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
        if failing := failing_test(tree):
            raise SystemExit(f"tests/mutations.py: {failing} fails without a mutation")
        chosen = [one for one in ACTIONS if not sys.argv[1:] or any(word in one[2] for word in sys.argv[1:])]
        for name, line, action in chosen:
            path = tree / "conductor" / "change" / name
            source_text = path.read_text()
            path.write_text(mutated(source_text, line))
            failing = failing_test(tree)
            path.write_text(source_text)
            survived += not failing
            print(f"{action}: {failing or 'NO TEST FAILS'}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} mutations are found")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
