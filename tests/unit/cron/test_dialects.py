"""Lines of other schedulers' crontabs are rejected; commands that only look like one are taken."""

import pytest

from conductor.cron.table import CrontabError, parse

FIELD = "looks like a sixth field"
USER = "looks like a user"
SETTING = "as one setting"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0 4 * * * bin/x", FIELD),
        ("0 30 9 * * 1-5 bin/x", FIELD),
        ("0 15 10 * * ? bin/x", FIELD),
        ("0 15 10 * * MON-FRI bin/x", FIELD),
        ("0 15 10 ? * 6L bin/x", FIELD),
        ("0 15 10 * * fri#2 bin/x", FIELD),
        ("0 15 10 15W * ? bin/x", FIELD),
        ("0 0 12 1 1 * 2024-2026 bin/x", FIELD),
        ("0 12 * * 1 2026 bin/x", FIELD),
        ("0 12 * * 1 2025/2 bin/x", FIELD),
        ("@daily * bin/x", FIELD),
        ("*/5 * * * * root bin/x", USER),
        ("*/5 * * * * www-data php artisan schedule:run", USER),
        ("*/5 * * * * deploy cd /srv/app && bin/x", USER),
        ("*/5 * * * * app /srv/app/bin/x", USER),
        ("@daily root bin/x", USER),
        ("TZ=Europe/London 0 5 * * * bin/x", SETTING),
        ("CRON_TZ=UTC 0 5 * * * bin/x", SETTING),
        ('MAILTO="" 0 5 * * * bin/x', SETTING),
        ("A=b C='d e' 0 5 * * mon bin/x", SETTING),
        ("A=b @daily bin/x", SETTING),
    ],
)
def test_rejected(line: str, kind: str) -> None:
    with pytest.raises(CrontabError) as caught:
        parse(f"# jobs\n{line}\n")
    ((number, sentence),) = caught.value.problems
    assert number == 2
    assert kind in sentence


@pytest.mark.parametrize(
    "command",
    [
        "7z a x.7z .", "2to3 x", "50x y", "1password x", "deploy", "deploy production", "root", "monit x", "mongo x", "mon-sync x",
        "jan.sh", "sunspot", "hledger x", "LC_ALL=C x", "./mon x", "/opt/2048 x", "cd /app/bin/x", "sh /app/bin/x", "chronic /usr/bin/x",
        "env /usr/bin/x", "rake db:x", "bin/x 5 * mon",
    ],
)  # fmt: skip
def test_accepted(command: str) -> None:
    table = parse(f"*/5 * * * * {command}\n")
    assert [job.command for job in table.jobs] == [command]
    assert table.warnings == ()


@pytest.mark.parametrize("line", ["A=1 2 3 4 5 6 7", 'A="0 5 * * * x"', "A=a b * * * x y", "TZ=UTC", "A=0 5 * * *"])
def test_settings_that_contain_no_schedule(line: str) -> None:
    assert parse(line).jobs == ()


def test_a_stored_table_is_read_by_the_rules_of_cron_alone() -> None:
    """A release of a version with fewer checks can still be started and rolled back to."""
    for command in ("root bin/x", "5 x", "x &", "x 'a"):
        assert parse(f"* * * * * {command}", stored=True).jobs[0].command == command
    with pytest.raises(CrontabError):
        parse("61 * * * * x", stored=True)
