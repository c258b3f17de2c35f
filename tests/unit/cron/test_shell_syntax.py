"""Commands that a shell cannot run after cron's `%`, and commands in the background."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conductor.cron.shell_syntax import in_background, layers, problem, runs
from conductor.cron.table import CrontabError, parse

CUT = r"write \% for a percent sign"
BACKGROUND = "kills the background command"


def sentence(line: str) -> str:
    with pytest.raises(CrontabError) as caught:
        parse(line)
    return caught.value.problems[-1][1]


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ('date "+%H:%M"', f"inside double quotes; {CUT}"),
        ("x 'a%b'", f"inside single quotes; {CUT}"),
        ("x $(date +%F)", f"inside $(; {CUT}"),
        ('x "$(date -u "+%F")"', f"inside double quotes; {CUT}"),
        ("x `date +%F`", f"inside backquotes; {CUT}"),
        ("(x; date +%F)", f"inside (; {CUT}"),
        ("x ${A:-%F}", f"inside ${{; {CUT}"),
        ("x | %y", f"after |; {CUT}"),
        ("if x; then date +%F; fi", f"before fi; {CUT}"),
        ("for a in b; do date +%F; done", f"before done; {CUT}"),
        ("echo it's", "inside single quotes; complete the command"),
        ("x &&", "after &&; complete the command"),
        ("bash -c 'x \"y'", "inside double quotes; complete the command"),
        ("x &", BACKGROUND),
        ("x& # why", BACKGROUND),
        ("nohup x > /dev/null 2>&1 &", BACKGROUND),
        ("x &%in", BACKGROUND),
        ("bash -lc 'cd /app && x &'", BACKGROUND),
        (r"bash -c 'x '\''a'\'' &'", BACKGROUND),
        ("x &> /dev/null", "sh starts the command before &> in the background; write > FILE 2>&1"),
        ("x &>> /proc/1/fd/1", "sh starts the command before &> in the background"),
        ("sh -c 'x &>/dev/null'", "sh starts the command before &> in the background"),
        ("x |& y", "sh does not support |&; write 2>&1 |"),
    ],
)
def test_rejected(command: str, part: str) -> None:
    assert part in sentence(f"* * * * * {command}")


@pytest.mark.parametrize(
    "command",
    [
        r'date "+\%H:\%M"', "cat%it's", "cat%if x; then", "x # it's", r"echo it\'s", 'echo "it\'s"', "x 2>&1", "x >&2", "a && b", "a || b",
        "x & wait", r"x \&", "x 'a &'", 'x "a &"', "bash -c 'x &> /dev/null'", "x ${#y} ${y:-'a'} \"${y:-it's}\"", "case x in a) y;; esac",
        "x $((1+2)) $(case a in a) b;; esac)", "{ a; b; }", "while a; do b; done", r"find . -name '*.x' -exec rm {} \;", "awk '{print $1}'",
        "ssh app1 'x &'", r"/bin/bash -l -c 'cd /app && x '\''a &'\'' >> log 2>&1'", r"bash -c 'a && '\''b c'\'''", "bash -c 'a &&'b",
    ],
)  # fmt: skip
def test_accepted(command: str) -> None:
    assert parse(f"* * * * * {command}").jobs


def test_the_shell_of_the_table_decides() -> None:
    assert parse("SHELL=/bin/bash\n* * * * * x &> /dev/null").jobs
    assert parse("SHELL=/bin/bash\n* * * * * x $'it\\'s'").jobs
    assert parse("SHELL=/usr/bin/fish\n* * * * * x (y").jobs
    assert BACKGROUND in sentence("SHELL=/bin/bash\n* * * * * x &")
    assert parse("SHELL=/bin/bash\n* * * * * x &> /dev/null\n").jobs
    assert "&>" in sentence("SHELL=/bin/bash\n* * * * * x\nSHELL=/bin/sh\n* * * * * x &> /dev/null")


@pytest.mark.parametrize(
    ("command", "expected"), [("(x &)", True), ("x & y", True), ("x & y; wait", False), ("x 2>&1", False)]
)
def test_in_background(command: str, expected: bool) -> None:
    assert in_background(tuple(layers(command, "/bin/sh"))) is expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("flock -n x y", True), ("/usr/bin/flock x", True), ("cd /x && flock x", True), ("A=b exec flock x", True), ("if flock x; then", True),
        ("sh -c 'flock x'", True), ("echo flock", False), ("bin/flock x", False), ("flocker x", False), ("echo '; flock x'", False),
    ],
)  # fmt: skip
def test_runs(command: str, expected: bool) -> None:
    assert runs("flock", tuple(layers(command, "/bin/sh"))) is expected


PARTS = [
    "a",
    " ",
    "'",
    '"',
    "`",
    "$(",
    "${x-",  # sh -n accepts a bad parameter name, which fails only when it runs
    "(",
    ")",
    "}",
    "{ ",
    "\\",
    "#",
    "|",
    "&&",
    ";",
    "$",
    "if ",
    "x",
    "=",
    " <f ",  # two bare ones begin a here-document
    "1",
]


@settings(max_examples=150, deadline=None, derandomize=True)  # dash accepts some rare nonsense in backquotes
@example("$${x-")
@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_a_rejected_command_is_one_that_a_shell_rejects(command: str) -> None:
    """`sh -n` reads a command and runs nothing."""
    if any(layer.opened for layer in layers(command, "/bin/sh")):
        assert subprocess.run(["/bin/sh", "-n", "-c", command], capture_output=True, check=False).returncode != 0
    assert problem("fine", "/bin/sh", cut=True) is None
