"""An app's crontab: generated in the new revision, refused before anything starts, installed last, run by Debian's cron."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.commands import ROOT, Result
from tests.support.cron import PrivateCron
from tests.support.host import TestHost, merged
from tests.support.service_actions import service

TOKEN = "token-of-the-app-4f1"
FIRED_SECONDS = 100.0
TABLE = """\
# Printed by the app.
MAILTO=ops@example.com
GREETING="good morning"

*/5 * * * * bin/settle 'for all'
0 3 * * mon echo "$GREETING, $REVISION" >>/volume/said
"""


class CronHost:
    """A host whose service `web` generates the crontab in the file `table`."""

    def __init__(self, host: TestHost) -> None:
        self.host = host
        self.volume = host.directory / "volume"
        self.volume.mkdir(exist_ok=True)
        (host.directory / "token").write_text(f"{TOKEN}\n")
        self.program = host.directory / "conductor"
        words = f"PYTHONPATH={ROOT} CONDUCTOR_CONFIG={host.config} exec {sys.executable} -m conductor"
        self.program.write_text(f'#!/bin/sh\n{words} "$@"\n')
        self.program.chmod(0o755)
        self.print(TABLE)
        self.define()

    def define(self, *generate: str, **env: str) -> None:
        cron = {"generate": list(generate or ("cat", "/volume/table"))}
        given: dict[str, Any] = {"TOKEN": {"file": str(self.host.directory / "token")}, **env}
        web = merged(QUICK, {"cron": cron, "env": given, "volumes": [f"{self.volume}:/volume"]})
        self.host.define({"web": web}, host_extra={"cron": {"command": str(self.program)}})

    def print(self, table: str) -> None:
        (self.volume / "table").write_text(table)

    @property
    def file(self) -> Path:
        return self.host.cron_dir / "conductor-web"

    def cron(self, verb: str, *more: str, **options: Any) -> Result:
        return self.host.conductor("cron", verb, "--id", "web", *more, **options)

    def jobs(self) -> list[dict[str, Any]]:
        return list(json.loads(self.cron("list", "--json", check=True).stdout)["jobs"])


@pytest.fixture
def app(serving: TestHost) -> CronHost:
    """`web` r1 serves with its crontab installed."""
    made = CronHost(serving)
    serving.upgrade("r1", "web", "--force", "--start", check=True)
    return made


def lines(app: CronHost) -> list[str]:
    return app.file.read_text().splitlines()


# Installed.


def test_an_upgrade_installs_it_last(app: CronHost) -> None:
    events = map(json.loads, app.host.upgrade("r2", "web", "--json", check=True).stdout.splitlines())
    steps = [event["step"] for event in events if event["event"] == "step-finished"]
    assert steps == ["generate", "start", "gate", "cutover", "commit", "drain", "retire", "crontab", "history"]
    assert (app.file.stat().st_mode & 0o777, app.file.stat().st_uid) == (0o600, 0)
    stamp, comment, mail, blank, first, second = lines(app)
    assert "for web r2" in stamp
    assert [comment, mail, blank] == ["# Printed by the app.", "MAILTO=ops@example.com", ""]
    call = f"root {app.program} run --config {app.host.config} --id web --revision r2 -e 'GREETING=good morning' --job "
    assert first.startswith(f"*/5 * * * * {call}")
    assert first.endswith(" bin/settle 'for all'")
    assert second.startswith(f"0 3 * * mon {call}")
    assert second.endswith(""" /bin/sh -c 'echo "$GREETING, $REVISION" >>/volume/said'""")
    assert sorted(path.name for path in app.host.cron_dir.iterdir()) == ["conductor-web"]
    nothing_left_behind(app.host, "r2")


def test_a_rollback_installs_the_crontab_of_its_release_and_stop_removes_it(app: CronHost) -> None:
    before = lines(app)
    app.print("7 * * * * bin/other\n")
    app.host.upgrade("r2", check=True)
    assert len(lines(app)) == 2
    app.define("false")
    service(app.host, "rollback", check=True)  # it generates no crontab
    assert lines(app) == before
    service(app.host, "scale", "--count", "2", check=True)
    assert lines(app) == before
    service(app.host, "stop", check=True)
    assert not app.file.exists()
    service(app.host, "start", check=True)
    assert lines(app) == before
    service(app.host, "scale", "--reset", check=True)


@pytest.mark.parametrize("table", ["", "# only words\nMAILTO=ops\n"], ids=["nothing", "no job"])
def test_a_table_without_jobs_removes_the_file(app: CronHost, table: str) -> None:
    app.print(table)
    app.host.upgrade("r2", check=True)
    assert not app.file.exists()
    nothing_left_behind(app.host, "r2")
    app.print(TABLE)
    assert "has 2 jobs for r2" in app.cron("install", check=True).stderr
    assert len(app.jobs()) == 2


def test_a_definition_without_cron(app: CronHost) -> None:
    app.host.define({"web": QUICK})
    app.host.upgrade("r2", check=True)
    assert not app.file.exists()
    failed(
        app.cron("install"),
        1,
        "cannot generate a crontab for web: its definition has no `cron` key",
        "upgrade or restart",
    )


def test_show_install_and_remove_by_hand(app: CronHost) -> None:
    before = lines(app)
    app.print(TABLE.replace("*/5", "*/7"))
    shown = app.cron("show", check=True)
    assert [line[:1] for line in shown.stderr.splitlines()][:5] == ["-", "+", "@", "-", "+"]
    assert "\n-*/5 * * * * root" in shown.stderr
    assert "\n+*/7 * * * * root" in shown.stderr
    assert lines(app) == before
    document = json.loads(app.cron("show", "--json", check=True).stdout)
    assert (document["wanted"], document["installed"]) == (shown.stdout, app.file.read_text())
    app.cron("install", check=True)
    assert app.file.read_text() == shown.stdout
    assert "nothing to do" in app.cron("install", check=True).stderr
    app.cron("remove", check=True)
    assert not app.file.exists()
    assert "nothing to do" in app.cron("remove", check=True).stderr
    actions = [(line["action"], line["outcome"]) for line in app.host.history()[-2:]]
    assert actions == [("cron-install", "done"), ("cron-remove", "done")]
    assert "for web r3." in app.cron("install", "--revision", "r3", check=True).stderr + lines(app)[0]


# Refused.

REFUSED: dict[str, tuple[str, tuple[str, ...]]] = {
    "one bad line among fifty": (
        "".join(f"{n} * * * * bin/job {n}\n" for n in range(49)) + "61 * * * * bin/job\n",
        ("cannot use the crontab: 1 problem", 'line 50: invalid minute "61"'),
    ),
    "two": ("* * * *\n5#2 * * * * x\n", ("2 problems", "line 1: ", "line 2: ")),
    "a secret": (f"* * * * * bin/job --token {TOKEN}\n", ("line 1: contains the value of a secret",)),
    "a secret in a line that is bad": (
        f"* * * * {TOKEN}\n* * * *\n",
        ("2 problems", "line 1: contains the value of a secret", "line 2: "),
    ),
    "a line too long when wrapped": (f"* * * * * bin/job {'x' * 900}\n", ("move the command into a script",)),
}


@pytest.mark.parametrize(("table", "words"), REFUSED.values(), ids=REFUSED)
def test_a_table_that_is_refused(app: CronHost, table: str, words: tuple[str, ...]) -> None:
    before = lines(app)
    app.print(table)
    error = failed(
        app.host.upgrade("r2"), 1, "cannot upgrade web: ", *words, "web is still running r1 with 1 replica\n"
    )
    assert "start  " not in error
    assert TOKEN not in error
    assert lines(app) == before
    nothing_left_behind(app.host, "r1")
    failed(app.cron("install"), 1, *words)
    assert lines(app) == before


GENERATE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "missing": (
        ("bin/generate-cron",),
        ("bin/generate-cron did not start: cannot run the command: ", "no such file or directory"),
    ),
    "failing": (("sh", "-c", 'echo "no $TOKEN" >&2; exit 3'), ("exited with code 3", "\n    no [secret]\n")),
    "half": (("sh", "-c", "echo '* * * * * x'; exit 4"), ("exited with code 4",)),
    "10 MB": (("head", "-c", "10000000", "/dev/zero"), ("printed more than 1024 KiB",)),
    "without end": (("yes",), ("printed more than 1024 KiB",)),
    "NUL": (("printf", r"* * * * * a\000b\n"), ("line 1: contains a NUL character",)),
    "not UTF-8": (("printf", r"* * * * * \377\n"), ("UTF-8",)),
}


@pytest.mark.parametrize(("generate", "words"), GENERATE.values(), ids=GENERATE)
def test_a_generator_that_fails(app: CronHost, generate: tuple[str, ...], words: tuple[str, ...]) -> None:
    before = lines(app)
    app.define(*generate)
    error = failed(
        app.host.upgrade("r2"), 1, "cannot upgrade web: ", *words, "web is still running r1 with 1 replica\n"
    )
    assert "start  " not in error
    assert lines(app) == before
    nothing_left_behind(app.host, "r1")


def test_ctrl_c_while_the_crontab_is_generated(app: CronHost) -> None:
    app.define("sleep", "50")
    upgrade = app.host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    app.host.wait_for(
        lambda: [c for c in app.host.containers() if c.kind == "task" and c.state == "running"], "the generator"
    )
    upgrade.signal(2)
    failed(upgrade.wait(20), 130, "interrupted", "web is still running r1 with 1 replica\n")
    nothing_left_behind(app.host, "r1")


def test_a_missing_directory(app: CronHost) -> None:
    aside = app.host.cron_dir.with_name("aside")
    app.host.cron_dir.rename(aside)
    try:
        failed(app.host.upgrade("r2"), 1, f"cannot install a crontab: {app.host.cron_dir} is not a directory")
        nothing_left_behind(app.host, "r1")
        service(app.host, "scale", "--count", "2", check=True)  # it changes no crontab
        service(app.host, "scale", "--reset", check=True)
        app.host.conductor("service", "stop", "--id", "web", check=True)  # there is no crontab to remove
    finally:
        aside.rename(app.host.cron_dir)
    service(app.host, "start", check=True)


@pytest.mark.parametrize("verb", ["upgrade", "restart", "stop"])
def test_a_directory_that_cannot_be_written(app: CronHost, verb: str) -> None:
    """It is refused before anything is changed, because the change could not be finished."""
    directory = str(app.host.cron_dir)
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        words = ("--revision", "r2") if verb == "upgrade" else ()
        failed(service(app.host, verb, *words), 1, f"cannot install a crontab: {directory} is not writable")
        service(app.host, "scale", "--count", "1", check=True)
        nothing_left_behind(app.host, "r1")
    finally:
        subprocess.run(["umount", directory], check=True)


def test_a_stopped_service_gets_no_crontab(app: CronHost) -> None:
    service(app.host, "stop", check=True)
    failed(
        app.cron("install"), 1, "cannot install the crontab for web: the service is stopped", "service start --id web"
    )
    assert not app.file.exists()
    service(app.host, "start", check=True)
    assert app.file.exists()


def test_killed_between_commit_and_installation(app: CronHost) -> None:
    app.define(FAULT_r1="ignore-term")  # so that it takes a second to stop
    service(app.host, "restart", check=True)
    app.print("7 * * * * bin/other\n")
    upgrade = app.host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    app.host.wait_for(lambda: (app.host.wanted() or {})["release"]["revision"] == "r2", "the commit")
    upgrade.kill()
    assert "for web r1" in lines(app)[0]
    service(app.host, "start", check=True)
    assert "for web r2" in lines(app)[0]
    assert lines(app)[1].endswith("bin/other")
    nothing_left_behind(app.host, "r2")


# Run.


def ran(app: CronHost) -> set[tuple[str, str, int]]:
    """Return action, revision and exit code of the tasks in the history."""
    return {(line["action"], line["to"], line["exit_code"]) for line in app.host.history() if "exit_code" in line}


def test_run_by_debians_cron(app: CronHost) -> None:
    """A line written by hand and the crontab that `upgrade` installed both run in a container of their revision."""
    here = app.volume / "bin"
    here.mkdir()
    (here / "rails").write_text('#!/bin/sh\nfor word; do echo "<$word>"; done\necho "$REVISION by $0"\ncat\n')
    (here / "rails").chmod(0o755)
    app.print(
        f"GREETING=hello\n* * * * * /volume/bin/rails \"$GREETING\" {TOKEN[:5]}%one%two\n* * * * * sh -c 'exit 7'\n"
    )
    app.host.upgrade("r2", check=True)
    by_hand = app.host.cron_dir / "by-hand"
    line = f"* * * * *  root  {app.program} run --id web --revision r1 /volume/bin/rails runner ''"
    by_hand.write_text(f"{line} >{app.volume}/log\n")
    by_hand.chmod(0o600)
    try:
        with PrivateCron(app.host.cron_dir, app.host.directory / "hidden") as cron:
            cron.wait_for(lambda: len(ran(app)) == 3, FIRED_SECONDS)
            app.host.wait_for(lambda: {job["state"] for job in app.jobs()} == {"done"}, "the results of both jobs")
    finally:
        by_hand.unlink()
    first, second = app.jobs()
    assert (first["exit_code"], first["output"]) == (0, "<hello>\n<token>\nr2 by /volume/bin/rails\none\ntwo\n")
    assert (second["exit_code"], second["last_revision"], second["state"]) == (7, "r2", "done")
    assert (app.volume / "log").read_text() == "<runner>\n<>\nr1 by /volume/bin/rails\n"
    assert ran(app) == {("cron", "r2", 0), ("cron", "r2", 7), ("task", "r1", 0)}
    table = app.cron("list", check=True).stdout
    assert table.splitlines()[0].split()[:3] == ["SERVICE", "SCHEDULE", "NEXT"]
    assert "\n    two\n" in table
    assert not [word for word in (TOKEN,) if word in table + app.file.read_text()]
    nothing_left_behind(app.host, "r2")


def test_list_before_the_first_run(app: CronHost) -> None:
    first, second = app.jobs()
    assert (first["state"], first["exit_code"], first["skipped"], first["command"]) == (
        "never",
        None,
        0,
        "bin/settle 'for all'",
    )
    times = [
        datetime.fromisoformat(one["next_run"]).astimezone() for one in (first, second)
    ]  # local, as cron reads them
    assert times[0].minute % 5 == 0
    assert (times[1].hour, times[1].minute) == (3, 0)
    failed(app.host.conductor("cron", "list", "--id", "wbe"), 2, 'cannot find service "wbe"', "did you mean web?")


def test_a_damaged_result_hides_no_other_job(app: CronHost) -> None:
    first, _ = app.jobs()
    results = app.host.state_dir / "jobs" / "web"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{first['job']}.json").write_text("{")
    try:
        damaged, whole = app.jobs()
    finally:
        (results / f"{first['job']}.json").unlink()
    assert damaged["state"] == "damaged"
    assert "it is damaged" in damaged["output"]
    assert (whole["state"], whole["output"]) == ("never", "")
    failed(app.host.conductor("cron", "remove", "--id", "wbe"), 2, 'cannot find service "wbe"', "did you mean web?")
    failed(app.host.conductor("cron", "install", "--id", "wbe"), 2, 'cannot find service "wbe"', "did you mean web?")
