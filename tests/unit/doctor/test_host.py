"""Checks of definitions, files, cron and `supervise`, each found and not found."""

import os

import msgspec
import pytest

from conductor.cron.installed import HEADER
from conductor.definitions.host import HostCron
from conductor.doctor.finding import Severity
from conductor.errors import UsageError
from conductor.state.files import write
from conductor.state.notifications import NotificationRecords
from conductor.state.supervisor_status import SupervisorStatus, status_path
from conductor.systemctl import Unit
from tests.fakes.world import WEB, WORKER
from tests.unit.doctor.conftest import HostUnderTest, Row, causes_its_finding

ERROR, WARNING = Severity.ERROR, Severity.WARNING
CRON = {"web": {**WEB, "cron": {"generate": ["gen"]}}, "worker": WORKER}


def with_secret(host: HostUnderTest, mode: int, text: str = "hunter2", name: str = "key") -> None:
    path = host.write(name, text, mode)
    host.define({"web": {**WEB, "env": {"KEY": {"file": str(path)}}}, "worker": WORKER})


def with_secret_header(host: HostUnderTest, mode: int) -> None:
    headers = {"Authorization": {"file": str(host.write("header", "hunter2", mode))}}
    host.define({"web": {**WEB, "health": {"path": "/", "headers": headers}}, "worker": WORKER})


def with_missing_secret(host: HostUnderTest) -> None:
    host.define({"web": {**WEB, "env": {"KEY": {"file": "/nonexistent"}}}, "worker": WORKER})


def with_cron(host: HostUnderTest, **fields: str) -> None:
    """`web` has cron jobs. The program and the directory are usable unless `fields` say otherwise."""
    host.define(CRON)
    host.set_host(cron=HostCron(**{"dir": str(host.world.directory / "cron"), "command": "/bin/true", **fields}))


def without_cron_daemon(host: HostUnderTest) -> None:
    with_cron(host)
    host.is_cron_running = False


def with_crontab(host: HostUnderTest, mode: int) -> None:
    with_cron(host)
    host.write("cron/conductor-web", f"{HEADER} web r1.\n", mode)


def publish_problem(host: HostUnderTest) -> None:
    status = SupervisorStatus(
        pid=os.getpid(), since="2026-01-01T00:00:00Z", text="x", problem="the host section changed"
    )
    write(status_path(host.host.runtime_dir), status)


def with_notify(host: HostUnderTest, failures: int = 0, **notify: object) -> None:
    host.define({"web": {**WEB, "notify": {"command": ["/bin/true"], **notify}}, "worker": WORKER})
    for _ in range(failures):
        NotificationRecords(host.world.store.directory).record_delivery(
            "web", host.world.clock.now(), "the webhook returned 500"
        )


def with_open(host: HostUnderTest, section: str, key: str) -> None:
    directory = host.world.directory / "open"
    directory.mkdir()
    directory.chmod(0o777)
    changed = msgspec.structs.replace(getattr(host.host, section), **{key: str(directory)})
    host.set_host(**{section: changed})


ROWS = {
    "not root": Row("not-root", WARNING, lambda host: setattr(host, "is_root", False)),
    "file is gone": Row(
        "definitions", ERROR, lambda host: ((host.world.directory / "services.yml").unlink(), host.reload())
    ),
    "one service is invalid": Row(
        "definitions", ERROR, lambda host: host.define({"web": WEB, "worker": WORKER, "bad": {**WEB, "nope": 1}}), "bad"
    ),
    "secret is missing": Row("service-file", ERROR, with_missing_secret, "web"),
    "secret with a carriage return": Row(
        "service-file-content", WARNING, lambda host: with_secret(host, 0o600, "a\r\n"), "web"
    ),
    "secret header for all": Row("secret-mode", WARNING, lambda host: with_secret_header(host, 0o644), "web"),
    "secret for all": Row("secret-mode", WARNING, lambda host: with_secret(host, 0o644), "web"),
    "webhook for all": Row(
        "secret-mode",
        WARNING,
        lambda host: with_notify(host, webhook={"file": str(host.write("webhook", "http://127.0.0.1/x\n", 0o644))}),
        "web",
    ),
    "webhook of the host for all": Row(
        "secret-mode",
        WARNING,
        lambda host: host.world.define(
            {"web": WEB, "worker": WORKER},
            notify={"webhook": {"file": str(host.write("webhook", "http://127.0.0.1/x", 0o644))}},
        ),
    ),
    "webhook without a file": Row(
        "notify-unusable", WARNING, lambda host: with_notify(host, webhook={"file": "/nonexistent"}), "web"
    ),
    "webhook file without a URL": Row(
        "notify-unusable",
        WARNING,
        lambda host: with_notify(host, webhook={"file": str(host.write("webhook", "x"))}),
        "web",
    ),
    "command that does not exist": Row(
        "notify-unusable",
        WARNING,
        lambda host: host.world.define({"web": WEB, "worker": WORKER}, notify=["/nonexistent"]),
    ),
    "notifications keep failing": Row("notify-failing", WARNING, lambda host: with_notify(host, failures=2), "web"),
    "state for all": Row("file-mode", WARNING, lambda host: host.world.store.directory.chmod(0o755)),
    "nginx's files that others replace": Row(
        "file-mode", WARNING, lambda host: with_open(host, "nginx", "include_dir")
    ),
    "crontabs that others replace": Row("file-mode", WARNING, lambda host: with_open(host, "cron", "dir")),
    "definitions that others write": Row(
        "file-mode", WARNING, lambda host: (host.world.directory / "services.yml").chmod(0o666)
    ),
    "definitions of another user": Row(
        "file-owner", WARNING, lambda host: os.chown(host.world.directory / "services.yml", 4711, -1)
    ),
    "closed runtime directory": Row("runtime-mode", ERROR, lambda host: (host.world.directory / "run").chmod(0o700)),
    "little room for state": Row(
        "state-disk", WARNING, lambda host: host.free.update({str(host.world.store.directory): 2**30})
    ),
    "damaged addresses": Row("damaged-state", ERROR, lambda host: host.write("state/addresses.json", "{")),
    "damaged host.json": Row("damaged-state", ERROR, lambda host: host.write("state/host.json", "{")),
    "damaged status": Row("damaged-state", ERROR, lambda host: host.write("run/supervise.json", "{")),
    "cron is down": Row("cron-down", ERROR, without_cron_daemon),
    "cron has no program": Row("cron-command", ERROR, lambda host: with_cron(host, command="/nonexistent")),
    "cron has no directory": Row("cron-directory", ERROR, lambda host: with_cron(host, dir="/nonexistent")),
    "cron reads elsewhere": Row("cron-elsewhere", WARNING, with_cron),
    "crontab that others write": Row("cron-file", ERROR, lambda host: with_crontab(host, 0o666)),
    "supervise is down": Row("supervise-down", WARNING, lambda host: host.supervising.close()),
    "no unit": Row("supervise-unit", WARNING, lambda host: setattr(host, "unit", Unit(False, False, False))),
    "unit is disabled": Row("supervise-unit", WARNING, lambda host: setattr(host, "unit", Unit(True, False, True))),
    "not as a unit": Row("supervise-unit", WARNING, lambda host: setattr(host, "unit", Unit(True, True, False))),
    "supervise has other definitions": Row("supervise-definitions", WARNING, publish_problem),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_trouble_is_found(host: HostUnderTest, row: Row) -> None:
    if row.check == "file-owner" and os.geteuid() != 0:
        pytest.skip("only root can change an owner")
    causes_its_finding(host, row)


def test_a_healthy_host_has_no_findings(host: HostUnderTest) -> None:
    report = host.report()
    assert (report.findings, report.skipped, report.exit_code) == ((), 0, 0)


@pytest.mark.parametrize("unit", [None, Unit(True, True, True)], ids=["without systemd", "as a unit"])
def test_supervise_that_runs_is_fine(host: HostUnderTest, unit: Unit | None) -> None:
    host.unit = unit
    assert host.report().findings == ()


def test_a_correct_crontab_is_fine(host: HostUnderTest) -> None:
    with_crontab(host, 0o600)
    assert {one.check for one in host.report().findings if one.check.startswith("cron")} == {"cron-elsewhere"}


def test_crons_own_directory_is_fine(host: HostUnderTest) -> None:
    with_cron(host, dir="/etc/cron.d")
    assert "cron-elsewhere" not in {one.check for one in host.report().findings}


def test_a_secret_of_owner_and_group_is_fine(host: HostUnderTest) -> None:
    with_secret(host, 0o640)
    assert {one.check for one in host.report().findings} == {"drifted"}


def test_the_value_of_a_secret_is_never_shown(host: HostUnderTest) -> None:
    with_secret(host, 0o644, "hunter2\r\n")
    assert "hunter2" not in host.report().describe()


def test_with_a_broken_file_the_services_are_still_checked(host: HostUnderTest) -> None:
    host.unusable = UsageError("cannot read services.yml: it does not exist")
    for one in host.world.replicas("worker"):  # Docker does not remove the image of a running container
        host.world.runtime.exit(one.id)
    host.world.runtime.images.clear()
    assert {"definitions", "image-missing"} <= {one.check for one in host.report().findings}


def test_one_failed_notification_is_no_finding_and_nor_are_old_ones_without_settings(host: HostUnderTest) -> None:
    with_notify(host, failures=1)
    assert host.report().findings == ()
    with_notify(host, failures=1)
    assert [one.check for one in host.report().findings] == ["notify-failing"]
    host.define({"web": WEB, "worker": WORKER})
    assert host.report().findings == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user")
def test_a_file_that_only_root_can_read_is_not_called_damaged_or_missing(host: HostUnderTest) -> None:
    """The first report is that of another user, who can enter the directories."""
    with_secret(host, 0o600)
    assert host.world.store.directory.joinpath("addresses.json").stat().st_mode & 0o077 == 0
    for one in (host.world.store.directory, *host.world.store.directory.parents):
        one.chmod(one.stat().st_mode | 0o011)
    host.is_root = False
    os.seteuid(65534)
    try:
        found = {one.check for one in host.report().findings}
    finally:
        os.seteuid(0)
    assert "not-root" in found
    assert not found & {"service-file", "damaged-state", "check-failed"}
