"""What a user crontab holds, line by line: taken, refused with which words, or taken with a warning."""

import pytest

from conductor.cron.table import CrontabError, Job, Setting, Table, Text, parse
from conductor.errors import ConductorError

LONG = "\x1b[2J" + "x" * 900


def refused(text: str | bytes) -> tuple[tuple[int, str], ...]:
    with pytest.raises(CrontabError) as caught:
        parse(text)
    return caught.value.problems


def test_lines_keep_their_order_and_their_text():
    text = '# jobs\n\n \t# more\nMAILTO = "a@b" \n*/5 \t* * * *  \tbin/x  "a  b" \\% %in \n\t@daily\tbin/y\n'
    assert parse(text) == Table(
        (
            Text(1, "# jobs"),
            Text(2, ""),
            Text(3, " \t# more"),
            Setting(4, 'MAILTO = "a@b" ', "MAILTO", "a@b"),
            Job(5, "*/5 \t* * * *", 'bin/x  "a  b" \\% %in '),
            Job(6, "@daily", "bin/y"),
        )
    )


@pytest.mark.parametrize("text", ["", b"", "\n", "# only a comment"])
def test_a_table_without_jobs(text):
    assert parse(text).jobs == ()


def test_text_and_bytes_and_a_missing_last_newline_are_one():
    assert parse("* * * * * echo é") == parse("* * * * * echo é\n".encode())


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("A=", None, None),
        ('A=""', "A", ""),
        ("A=''", "A", ""),
        ("  A = b c  ", "A", "b c"),
        ("A='b c'", "A", "b c"),
        ("'A'='b'", "A", "b"),
        ('"A" =b', "A", "b"),
        ("A='it\"s'", "A", 'it"s'),
        ("A=it's", "A", "it's"),
        ("A=b=c", "A", "b=c"),
        ("A=%\\%", "A", "%\\%"),  # no rule of commands holds here
        ("A='=' ", "A", "="),
        ('A="b" ', "A", "b"),
        ("A=é", "A", "é"),
        ("A=b\tc", "A", "b\tc"),
    ],
)
def test_settings_are_what_cron_sets(line, name, value):
    if name is None:
        refused(line)
    else:
        assert parse(line).lines == (Setting(1, line, name, value),)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("A=", 'a setting without a value: write A=""'),
        ("MAILTO = ", 'write MAILTO=""'),
        ("A='b", "cannot read this setting"),
        ('A="', "cannot read this setting"),
        ("A='b'c", "cannot read this setting"),
        ("A='b' c", "cannot read this setting"),
        ("A='it''s'", "cannot read this setting"),
        ('"', "five fields"),
        ("'A=B'=c", "five fields"),
        ("export A=b", "cron knows no export: write A=VALUE"),
        ("0=1 * * * * x", 'cron takes this for a setting, because "=" follows its first word'),
        ("@daily = x", "cron takes this for a setting"),
        ("=x", "cron takes this for a setting"),
        ("A-B=c", "cron takes this for a setting"),
        ("'A B'=c", "cron takes this for a setting"),
        ("É=c", "cron takes this for a setting"),
        ("CRON_TZ=UTC", "does not know CRON_TZ"),
        ("LOGNAME=x", "cron sets LOGNAME itself"),
        ("SHELL=bash", "write SHELL=/bin/bash"),
        ("SHELL=/bin/bash -l", "SHELL must be the path of a shell and nothing else"),
        ("SHELL=/bin/%sh", "SHELL must be the path of a shell"),
        ("HOME=app", "HOME must be an absolute path"),
        ('HOME=""', "HOME must be an absolute path"),
        ('A="b "', "inside the quotes of A too"),
        ("A=\"'b'\"", "inside the quotes of A too"),
        ("A=" + "b" * 997, "cron cuts a setting off after 998 bytes"),
        ("A='" + "b" * 1000 + "'", "cron cuts a setting off after 998 bytes"),
        ("A=" + "é" * 500, "cron cuts a setting off after 998 bytes"),
        ("A=" + "b" * 990 + " " * 9 + "c", "cron cuts a setting off after 998 bytes"),
        ("61 * * * * x", 'cannot read "61" as minute'),
        ("* * * * * ", "a schedule without a command: write one"),
        ("@daily", "a schedule without a command"),
        ("* * * * * %in", "a schedule without a command before its %"),
        ("* * * * * \t%", "a schedule without a command before its %"),
        ("* * * * * * x", "no command that starts with *: a schedule has five fields"),
        ("bin/x", "five fields"),
        ("@every 5m x", "@every is no schedule"),
        ("* * * * * x \\", "no continuation lines"),
        ("* * * * * x \\\\\\", "no continuation lines"),
        ("* * * * * " + "x" * 999, "at most 998 bytes of command"),
        ("* * * * * x\r", r"ends in a carriage return (\r\n)"),
        ("# note\r", "ends in a carriage return"),
        ("* * * * * x\0y", "holds a NUL"),
        ("# \0", "holds a NUL"),
        ("\ufeff# jobs", "starts with a byte order mark"),
        (b"# \xff", "is not UTF-8"),
        ("* * * * * \udcff", "is not UTF-8"),
        ("\v", "five fields"),
        ("\f# x", "five fields"),
    ],
)
def test_refused(line, says):
    problems = refused(line)
    assert [number for number, _ in problems] == [1]
    assert says in problems[0][1]


@pytest.mark.parametrize(
    "line",
    [
        "A=" + "b" * 996,
        "     A=" + "b" * 996,
        "* * * * * " + "x" * 998,
        "*/1 \t * * * * " + "=" * 998,  # only its first word could make it a setting
        "* * * * * x \\\\",
        "* * * * * cat%ends in a \\",
        "* * * * * A=b x",
        "* * * * * x\ry",
        "* * * * * x\x1b\v",
    ],
)
def test_at_the_limits_of_what_is_taken(line):
    assert parse(line).lines


def test_a_table_has_at_most_10000_lines():
    assert len(parse("#\n" * 10_000).lines) == 10_000
    assert refused("#\n" * 10_001) == ((10_001, "cron takes at most 10000 lines: write fewer, or use scripts"),)


def test_carriage_returns_are_one_problem():
    problems = refused("# a\r\n* * * * * x\r\n61 * * * * y\r\n")
    assert [number for number, _ in problems] == [1, 3]
    assert ", as do 2 more lines" in problems[0][1]


def test_all_problems_at_once_in_order():
    with pytest.raises(ConductorError) as caught:
        parse("A=\n* * * * * fine\n61 * * * * x\n#\nSHELL=zsh\n")
    error = caught.value
    assert error.sentence == "cannot use the crontab: 3 problems"
    assert [detail.partition(":")[0] for detail in error.details] == ["line 1", "line 3", "line 5"]
    assert error.hint
    with pytest.raises(ConductorError, match=r"^cannot use the crontab: 1 problem$"):
        parse("x")


@pytest.mark.parametrize(
    "line",
    [
        f"61 * * * * {LONG}",
        f"* * * * {LONG} x",
        f"{LONG}",
        f"@{LONG} x",
        f"0 0 {'31,' * 300}31 2 * x",
        f"{'X' * 900}=",
        f"export {'X' * 900}=y",
        f"{'X' * 900}='y '",
        f"22-{'2,22-' * 300}2 * * * * x",
    ],
)
def test_what_is_shown_is_short_and_harmless(line):
    ((_, reason),) = refused(line)
    assert "\x1b" not in reason
    assert len(reason) < 400
    assert "…" in reason or "runs backwards" in reason


def test_values_are_not_shown():
    assert "hunter2" not in str(refused("PASSWORD='hunter2' x") + refused("P-W=hunter2") + refused('P="hunter2 "'))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("* * * * * bin/x >> log/cron.log 2>&1", "writes its output to a file in the container"),
        ("* * * * * /bin/bash -l -c 'cd /app && bin/x >> log/cron.log'", "writes its output to a file"),
        ("* * * * * bin/x >/tmp/x", "writes its output to a file"),
        ("* * * * * bin/x 2> $LOG", "writes its output to a file"),
        ("* * * * * bin/x &>'a b'", "writes its output to a file"),
        ("* * * * * bin/x --day $(date +%F)", r"cron ends the command at its first %: write \%"),
        ('* * * * * bin/x "$(date -u "+%F")"', r"cron ends the command at its first %: write \%"),
        ("* * * * * root bin/x", "a user crontab has no column for a user"),
        ("*/90 * * * * bin/x", 'the step of minute "*/90" is longer than the field'),
        ("0 1-5/30 * * * bin/x", 'the step of hour "1-5/30" is longer'),
        ("TZ=Europe/London", "TZ is given to the jobs"),
        ("RANDOM_DELAY=5", "does not know RANDOM_DELAY"),
        ("PATH=$HOME/bin:$PATH", "cron expands nothing in a setting"),
        ("A=`date`", "cron expands nothing"),
        ("A=b # why", "a comment cannot follow a setting"),
    ],
)
def test_legal_but_likely_not_meant(line, says):
    (warning,) = parse(f"#\n{line}").warnings
    assert says in warning.sentence
    assert str(warning).startswith("line 2: ")


@pytest.mark.parametrize(
    "line",
    [
        "* * * * * bin/x > /dev/null 2>&1",
        "* * * * * bin/x >>/dev/stdout 2>/proc/1/fd/2",
        "* * * * * bin/x >&2",
        "* * * * * bin/rails runner '{a => 1}.each { |x| ->(y) { x } }'",
        '* * * * * bin/x --day "$(date +\\%F)"',
        "* * * * * cat%date +%F",
        "*/59 */23 * * * rootless x",
        "@daily bin/x 50",
        "A=100$",
        "A=b#c",
    ],
)
def test_no_warning(line):
    assert parse(line).warnings == ()
