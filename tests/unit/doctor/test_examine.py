"""All checks together: order, exit codes, deadlines, and checks that fail."""

import dataclasses
import json
import threading
from collections.abc import Iterator

import msgspec
import pytest

from conductor.doctor.docker import reachable
from conductor.doctor.examination import Examination
from conductor.doctor.examine import CHECKS, DEADLINE_SECONDS, Check, examine
from conductor.doctor.finding import Finding, Report, error, info, warning
from conductor.errors import ConductorError
from conductor.output.tables import as_document
from conductor.runtime.port import RuntimeDenied
from tests.fakes.runtime import FakeClock
from tests.unit.doctor.conftest import HostUnderTest

ERROR = error(check="e", what="w", why="y", fix="f", service="web")
WARNING = warning(check="w", what="w", why="y", fix="f")
INFO = info(check="i", what="w", why="y", fix="f")


class Late(FakeClock):
    """A clock on which the deadline passes once this many checks were waited for."""

    def __init__(self, waited_for: int) -> None:
        super().__init__()
        self._calls_in_time = 1 + waited_for  # the first call begins the time until the deadline

    def monotonic(self) -> float:
        self._calls_in_time -= 1
        return 0.0 if self._calls_in_time >= 0 else DEADLINE_SECONDS


def with_context(host: HostUnderTest, **more: object) -> Examination:
    """Return an examination whose context has these parts."""
    made = host.examination()
    return dataclasses.replace(made, context=msgspec.structs.replace(made.context, **more))


def check(*findings: Finding, raises: Exception | None = None) -> Check:
    """Return a check that yields these, then raises."""

    def made(_host: Examination) -> Iterator[Finding]:
        yield from findings
        if raises is not None:
            raise raises

    return made


@pytest.mark.parametrize(
    ("findings", "code", "summary"),
    [
        ((), 0, "0 errors, 0 warnings; 2 checks passed"),
        ((INFO,), 0, "0 errors, 0 warnings; 2 checks passed"),
        ((INFO, WARNING, WARNING), 4, "0 errors, 2 warnings; 1 check passed"),
        ((WARNING, INFO, ERROR), 1, "1 error, 1 warning; 1 check passed"),
    ],
)
def test_the_exit_code_and_the_summary(
    host: HostUnderTest, findings: tuple[Finding, ...], code: int, summary: str
) -> None:
    report = examine(host.examination(), [check(), check(*findings)])
    assert (report.exit_code, report.describe().splitlines()[-1]) == (code, summary)


def test_errors_come_first_and_each_has_three_lines(host: HostUnderTest) -> None:
    report = examine(host.examination(), [check(INFO, WARNING), check(ERROR)])
    assert report.findings == (ERROR, WARNING, INFO)
    *paragraphs, _ = report.describe().split("\n\n")
    assert paragraphs[0] == "error  e  web: w\n    y\n    fix: f"
    assert [len(one.splitlines()) for one in paragraphs] == [3, 3, 3]


@pytest.mark.parametrize("raised", [ConductorError("cannot x: y", "z"), OSError("x"), KeyError("hunter2")])
def test_a_check_that_fails_is_a_finding_and_hides_no_other(host: HostUnderTest, raised: Exception) -> None:
    report = examine(host.examination(), [check(WARNING, raises=raised), check(ERROR), check()])
    assert [one.check for one in report.findings] == ["e", "check-failed", "w"]
    assert (report.passed, report.skipped, report.exit_code) == (1, 0, 1)
    assert "hunter2" not in report.describe()


def test_a_check_that_hangs_is_a_finding(host: HostUnderTest) -> None:
    hanging, end = threading.Event(), threading.Event()

    def hangs(_host: Examination) -> Iterator[Finding]:
        yield WARNING
        hanging.set()
        end.wait()

    def passes(_host: Examination) -> Iterator[Finding]:
        hanging.wait()
        yield ERROR

    report = examine(with_context(host, clock=Late(1)), [passes, hangs])
    end.set()
    assert [one.check for one in report.findings] == ["e", "check-failed", "w"]


def test_without_docker_only_one_finding_says_so(host: HostUnderTest) -> None:
    host.world.runtime.away = True
    host.write("state/services/web.json", "{")
    report = host.report()
    assert [one.check for one in report.findings] == ["docker-unreachable", "damaged-state"]
    assert report.skipped > 5
    assert report.passed + report.skipped + 2 == len(CHECKS)


def test_without_permission_only_one_finding_says_so(host: HostUnderTest) -> None:
    denied = RuntimeDenied("cannot reach Docker: permission denied", "run as root")
    host.world.runtime.fail("daemon", error=denied)
    report = examine(host.examination(), [reachable, check(raises=denied)])
    assert ([one.check for one in report.findings], report.skipped) == (["docker-unreachable"], 1)


def test_a_docker_that_hangs_is_unreachable(host: HostUnderTest) -> None:
    """Every check that needs it is late, too."""
    end = threading.Event()

    class Hanging:
        def daemon(self) -> None:
            end.wait()

    def needs_docker(_host: Examination) -> Iterator[Finding]:
        end.wait()
        yield ERROR

    examination = with_context(host, runtime=Hanging(), clock=Late(1))
    report = examine(examination, [check(WARNING), reachable, needs_docker])
    end.set()
    assert ([one.check for one in report.findings], report.skipped) == (["docker-unreachable", "w"], 1)


def test_the_json_document(host: HostUnderTest) -> None:
    report = Report(findings=(ERROR,), passed=3)
    assert json.loads(as_document(report.document())) == {
        "version": 1,
        "findings": [{"severity": "error", "check": "e", "what": "w", "why": "y", "fix": "f", "service": "web"}],
        "passed": 3,
        "skipped": 0,
    }


def test_nothing_is_changed(host: HostUnderTest) -> None:
    def files() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
            for path in host.world.directory.rglob("*")
        }  # fmt: skip

    host.world.runtime.away = True
    host.world.traffic.running = False
    before, calls = files(), len(host.world.runtime.calls)
    host.report()
    host.world.runtime.away = False
    host.report()
    assert files() == before
    read_only = {"daemon", "containers", "image", "inspect", "check_credentials"}
    assert {call.method for call in host.world.runtime.calls[calls:]} <= read_only
    assert set(host.world.traffic.calls[-4:]) <= {"verify", "version"}


@pytest.mark.parametrize(("is_root", "found"), [(True, 1), (False, 0)])
def test_a_check_that_only_root_can_make_is_no_failure(host: HostUnderTest, is_root: bool, found: int) -> None:
    """The check `not-root` reports it once, and there is nothing else to fix."""
    host.is_root = is_root
    refused = ConductorError("cannot read /x: Permission denied")
    refused.__cause__ = PermissionError()
    assert len(examine(host.examination(), [check(raises=refused)]).findings) == found
