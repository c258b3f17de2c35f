"""The manual's page on troubles has every check that doctor reports, and no other. Each is in a table of these tests."""

import re

from conductor.commands.help import pages
from tests.support.commands import ROOT
from tests.unit.doctor import test_docker, test_fleet, test_host, test_nginx, test_services

WRITTEN = re.compile(r'(?:check=|_cron\(|_supervise\(|little_room\(host, )\s*"([a-z]+(?:-[a-z]+)+)"')
ALWAYS_TESTED = {"check-failed"}  # in test_examine.py


def test_the_page_has_every_check() -> None:
    tables = (test_docker.ROWS, test_fleet.ROWS, test_host.ROWS, test_nginx.ROWS, test_services.ROWS)
    checks = {row.check for table in tables for row in table.values()} | ALWAYS_TESTED
    page = pages()["troubleshooting"]
    rows = re.findall(r"^\| .* \| (`.*`) \| .* \|$", page, re.MULTILINE)
    information = page.partition("These are for information only")[2]
    named = {name for text in (*rows, information) for name in re.findall(r"`([a-z-]+)`", text)}
    assert named == checks
    sources = [path.read_text() for path in (ROOT / "conductor/doctor").glob("*.py")]
    written = {check for source in sources for check in WRITTEN.findall(source)}
    assert len(written) > len(checks) / 2
    assert written <= checks
