"""Checks of nginx, each found and not found."""

from pathlib import Path

import pytest

from conductor.doctor.finding import Severity
from conductor.plan.route import Way
from conductor.traffic.port import ManagedFile
from tests.fakes.world import WORKER
from tests.unit.doctor.conftest import HostUnderTest, Row, causes_its_finding

FILE = ManagedFile(path=Path("/etc/x.conf"), wanted="new", present="new")


def outside(host: HostUnderTest, present: str | None, *, at_boot: bool) -> None:
    host.world.traffic.outside = (
        FILE,
        ManagedFile(path=Path("/etc/y.conf"), wanted="new", present=present, at_boot=at_boot),
    )


ROWS = {
    "not installed": Row("nginx-missing", Severity.ERROR, lambda host: setattr(host.world.traffic, "nginx_version", "")),
    "down": Row("nginx-down", Severity.ERROR, lambda host: setattr(host.world.traffic, "running", False)),
    "down, not installed": Row(
        "nginx-down",
        Severity.ERROR,
        lambda host: (setattr(host.world.traffic, "running", False), setattr(host.world.traffic, "installed", False)),
    ),
    "not loaded": Row("nginx-not-loaded", Severity.ERROR, lambda host: setattr(host.world.traffic, "loaded", False)),
    "does not answer": Row(
        "nginx-not-answering", Severity.ERROR, lambda host: setattr(host.world.traffic, "answering", False)
    ),
    "refuses": Row("nginx-configuration", Severity.ERROR, lambda host: host.world.traffic.fail("verify")),
    "ignores a name": Row(
        "nginx-server-name", Severity.WARNING, lambda host: host.world.traffic.check_warnings.update(web="twice")
    ),
    "passes no requests": Row(
        "nginx-no-effect", Severity.WARNING, lambda host: setattr(host.world.traffic, "install_notices", ("web: none",))
    ),
    "fails at boot": Row("nginx-boot-file", Severity.WARNING, lambda host: outside(host, None, at_boot=True)),
    "a file is missing": Row("nginx-file", Severity.WARNING, lambda host: outside(host, None, at_boot=False)),
    "a file is old": Row("nginx-file", Severity.WARNING, lambda host: outside(host, "old", at_boot=True)),
    "edited by hand": Row(
        "nginx-edited-file",
        Severity.WARNING,
        lambda host: host.world.traffic.edited_files.update(web=Path("/etc/nginx/conductor.d/web.conf")),
        "web",
    ),
    "no limit": Row("nginx-old-workers", Severity.WARNING, lambda host: setattr(host.world.traffic, "limits", False)),
    "other way": Row(
        "nginx-cutover", Severity.WARNING, lambda host: host.world.traffic.ways.update(web=Way.LIVE), "web"
    ),
    "idle clients": Row(
        "nginx-idle-clients", Severity.INFO, lambda host: setattr(host.world.traffic, "nginx_version", "1.27.3")
    ),
}  # fmt: skip


def break_everything(host: HostUnderTest) -> None:
    host.world.traffic.running = host.world.traffic.limits = False
    host.world.traffic.nginx_version = ""
    outside(host, None, at_boot=True)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_trouble_is_found(host: HostUnderTest, row: Row) -> None:
    causes_its_finding(host, row)


def test_one_cause_is_one_finding(host: HostUnderTest) -> None:
    """Without its binary, nginx does not run and has no configuration."""
    break_everything(host)
    host.world.traffic.fail("verify")
    nginx = [one.check for one in host.report().findings if one.check.startswith("nginx")]
    assert nginx == ["nginx-missing"]


def test_without_services_behind_it_nginx_is_not_checked(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    host = HostUnderTest(tmp_path / "other", {"worker": WORKER})
    with host.supervising:
        break_everything(host)
        assert host.report().findings == ()
