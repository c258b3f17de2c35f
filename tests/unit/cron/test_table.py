"""The lines of a user crontab: accepted, rejected, or accepted with a warning."""

import pytest

from conductor.cron.schedule import FIELDS
from conductor.cron.table import Comment, CrontabError, Job, Setting, Table, parse
from conductor.errors import ConductorError

LONG = "\x1b[2J" + "x" * 900
INVALID_MINUTE = 'invalid minute "61"; ' + FIELDS[0].syntax


def rejected(text: str | bytes) -> tuple[tuple[int, str], ...]:
    with pytest.raises(CrontabError) as caught:
        parse(text)
    return caught.value.problems


def test_lines_keep_their_order_and_their_text():
    text = '# jobs\n\n \t# more\nMAILTO = "a@b" \n*/5 \t* * * *  \tbin/x  "a  b" \\% %in \n\t@daily\tbin/y\n'
    assert parse(text) == Table(
        (
            Comment(1, "# jobs"),
            Comment(2, ""),
            Comment(3, " \t# more"),
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
        ("A=%\\%", "A", "%\\%"),  # the rules of commands do not apply to settings
        ("A='=' ", "A", "="),
        ('A="b" ', "A", "b"),
        ("A=é", "A", "é"),
        ("A=b\tc", "A", "b\tc"),
    ],
)
def test_settings_are_what_cron_sets(line, name, value):
    if name is None:
        rejected(line)
    else:
        assert parse(line).lines == (Setting(1, line, name, value),)


# Each sentence once; test_schedule.py has those about schedules.
SENTENCES = [
    ("A=", 'cron rejects a setting without a value; write A=""'),
    ("export A=b", "cron does not support export; write A=VALUE"),
    ("A='b", "cron cannot parse this setting; put the whole value in one pair of quotes that the value does not contain"),
    ("A-B=c", 'cron reads this line as a setting, because "=" follows the first word; write a name of letters, digits and _, or a schedule of five fields'),
    ("CRON_TZ=UTC", "Debian's cron does not support CRON_TZ; remove it, and write the schedules in the host's time zone"),
    ("LOGNAME=x", "cron sets LOGNAME itself and ignores this value; remove the line"),
    ("SHELL=bash", "SHELL must be the path of a shell, without arguments; write, for example, SHELL=/bin/bash"),
    ("HOME=app", "HOME must be an absolute path; write, for example, HOME=/app"),
    ('A="b "', "cron also removes quotes and trailing blanks inside the quotes of A; write a value without them"),
    ("A=" + "b" * 997, "cron cuts off a setting after 998 bytes; write a shorter value"),
    ("61 * * * * x", f"{INVALID_MINUTE} (line: 61 * * * * x)"),
    ("@daily", "no command; write one (line: @daily)"),
    ("@daily %in", "no command before the first %; write one (line: @daily %in)"),
    ("* * * * * * x", '"*" looks like a sixth field, but cron has no fields for seconds or years; write five fields (to run a program of this name, write its path) (line: * * * * * * x)'),
    ("* * * * * root x", '"root" looks like a user, but a user crontab has no user column; remove it (to run a program of this name, write its path) (line: * * * * * root x)'),
    ("TZ=UTC * * * * * x", "cron reads a line that starts with TZ= as one setting; write the setting on its own line"),
    ("* * * * * *x", "cron rejects a command that starts with *; write only five fields before it (line: * * * * * *x)"),
    ('* * * * * date "+%H"', r'cron ends the command at the first %, inside double quotes; write \% for a percent sign (command: date "+%H")'),
    ("* * * * * x 'y", "the shell fails, because the command ends inside single quotes; complete the command (command: x 'y)"),
    ("* * * * * x &", "the container exits when its command does, which kills the background command; remove the & at the end (command: x &)"),
    ("* * * * * x \\", "cron does not support continuation lines; write the whole command on one line"),
    ("* * * * * " + "x" * 999, "cron accepts at most 998 bytes of command; move the command into a script"),
    ("* * * * * x\r", r"ends in a carriage return (\r\n), which cron reads as part of the line; end lines with \n"),
    ("# a\r\n# b\r", r"ends in a carriage return (\r\n), which cron reads as part of the line (also on 1 more line); end lines with \n"),
    ("# a\r\n# b\r\n# c\r", r"ends in a carriage return (\r\n), which cron reads as part of the line (also on 2 more lines); end lines with \n"),
    ("* * * * * x\0y", "contains a NUL character, at which cron ends the line; remove it"),
    ("\ufeff# jobs", "starts with a byte order mark, which cron does not skip; write UTF-8 without it"),
    (b"# \xff", "not valid UTF-8; write the crontab in UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), SENTENCES)
def test_sentences(text, sentence):
    assert rejected(text) == ((1, sentence),)


@pytest.mark.parametrize(
    "line",
    [
        "MAILTO = ",
        'A="',
        "A='b'c",
        "A='b' c",
        "A='it''s'",
        '"',
        "'A=B'=c",
        "0=1 * * * * x",
        "@daily = x",
        "=x",
        "'A B'=c",
        "É=c",
        "SHELL=/bin/bash -l",
        "SHELL=/bin/%sh",
        'HOME=""',
        "A=\"'b'\"",
        "A='" + "b" * 1000 + "'",
        "A=" + "é" * 500,
        "A=" + "b" * 990 + " " * 9 + "c",
        "* * * * * ",
        "* * * * * \t%",
        "bin/x",
        "@every 5m x",
        "* * * * * x \\\\\\",
        "# note\r",
        "# \0",
        "* * * * * \udcff",
        "\v",
        "\f# x",
    ],
)
def test_rejected(line):
    assert [problem.line for problem in rejected(line)] == [1]


@pytest.mark.parametrize(
    "line",
    [
        "A=" + "b" * 996,
        "     A=" + "b" * 996,
        "* * * * * " + "x" * 998,
        "*/1 \t * * * * " + "=" * 998,  # cron reads a setting only from the first word
        "* * * * * x \\\\",
        "* * * * * cat%ends in a \\",
        "* * * * * A=b x",
        "* * * * * x\ry",
        "* * * * * x\x1b\v",
    ],
)
def test_accepted_at_the_limits(line):
    assert parse(line).lines


def test_a_table_has_at_most_10000_lines():
    assert len(parse("#\n" * 10_000).lines) == 10_000
    assert rejected("#\n" * 10_001) == (
        (10_001, "cron accepts at most 10000 lines; remove lines, or move jobs into scripts"),
    )


def test_carriage_returns_are_one_problem():
    assert [problem.line for problem in rejected("# a\r\n* * * * * x\r\n61 * * * * y\r\n")] == [1, 3]


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
def test_excerpts_are_short_and_printable(line):
    ((_, reason),) = rejected(line)
    assert "\x1b" not in reason
    assert len(reason) < 400
    assert "…" in reason or "reversed range" in reason


def test_values_are_not_shown():
    assert "hunter2" not in str(rejected("PASSWORD='hunter2' x") + rejected("P-W=hunter2") + rejected('P="hunter2 "'))


TO_FILE = "output goes to a file in the container, which is removed with the container unless it is on a volume"
WARNINGS = [
    ("* * * * * bin/x >> log/cron.log 2>&1", TO_FILE),
    ("* * * * * /bin/bash -l -c 'cd /app && bin/x >> log/cron.log'", TO_FILE),
    ("* * * * * bin/x >/tmp/x", TO_FILE),
    ("* * * * * bin/x 2> $LOG", TO_FILE),
    ("SHELL=/bin/bash\n* * * * * bin/x &>'a b'", TO_FILE),
    ("* * * * * date +%F", r"cron ends the command at the first %; write \% in a date format"),
    ("* * * * * app php x", 'the command runs a program named "app"; a user crontab has no user column'),
    (
        "* * * * * flock -n /tmp/x bin/x",
        "a lock in the container has no effect, because each run has its own container; write overlap: skip under cron: in the definition (a lock on a volume works)",
    ),
    ("* * * * * nohup bin/x", "the container exits when its command does; run the command in the foreground"),
    ("* * * * * sudo -u app bin/x", "the container has its own users; write user: in the definition"),
    (
        "* * * * * systemctl restart x",
        "there is no init system in the container, so services cannot be controlled there",
    ),
    ("* * * * * docker exec web x", "the container cannot access Docker or cron on the host"),
    (
        "* * * * * bin/x --pidfile x",
        "a pid file in the container is removed with the container; write overlap: skip under cron: in the definition",
    ),
    ("* * * * * bin/x $USER", "cron's USER is not passed to the container; write the name, or set it in env"),
    (
        "* * * * * (bin/x &)",
        "the container exits when its command does, which kills background commands; remove the &, or add wait",
    ),
    ("*/90 * * * * bin/x", 'the step of minute "*/90" is larger than its range; only the first value matches'),
    ("TZ=Europe/London", "TZ is passed to the jobs, but does not change when they start"),
    ("RANDOM_DELAY=5", "Debian's cron does not support RANDOM_DELAY; it starts the jobs without a delay"),
    ("PATH=$HOME/bin:$PATH", "cron does not expand variables in settings; PATH contains the text as written"),
    ("A=b # why", "a comment cannot follow a setting; A contains the # and the text after it"),
]


@pytest.mark.parametrize(("line", "sentence"), WARNINGS)
def test_warnings(line, sentence):
    (warning,) = parse(f"#\n{line}").warnings
    number = line.count("\n") + 2
    assert warning == (number, sentence)
    assert str(warning) == f"line {number}: {sentence}"


@pytest.mark.parametrize("line", ["0 1-5/30 * * * bin/x", "A=`date`"])
def test_other_lines_with_a_warning(line):
    assert [warning.line for warning in parse(line).warnings] == [1]


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
