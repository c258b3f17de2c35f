"""For every crontab, the host's shell only starts Conductor: tested with 20,000 random tables and real shells.

Each wrapped command is unescaped as cron does it and evaluated by a shell in which `conductor` is a function that prints
its arguments. Any other effect would change the arguments, print an error, or create a file in the empty directory.
"""

import random
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conductor.cron.installed import installed_jobs, job_key
from conductor.cron.table import CrontabError, Job, Table, parse
from conductor.cron.wrap import wrap
from tests.support.cron import as_cron

TABLES = 5_000
PROGRAM = "/usr/local/bin/conductor"
RECORD = 'printed() { printf \'%s\\0\' "$#" "$@"; }\n'
SCHEDULES = ["* * * * *", "*/5 1-3 * jan mon", "@daily", "@reboot"]
# Text that would create a file, start a process or change the arguments if the host's shell interpreted it.
TRAPS = [
    "$(touch trap)", "`touch trap`", "; touch trap", "&& touch trap", "| touch trap", "|| touch trap", "& touch trap", "> trap",
    ">>trap", "2>trap", "<trap", "$HOME", "${PATH}", "$$", "*", "?", "~", "{a,b}", "(touch trap)", "#", "!", "<<E", "trap=1",
    "$'\\x27'", "%touch trap", "\\%", "\\\\%", "\\", "\\\\", "'", '"', "''", '""', "\\'", '\\"', "$(", "`", "\t", "  ",
]  # fmt: skip
PLAIN = [
    "a", "bin/x", "é", "--flag=1", "'a b'", '"a b"', "a\\ b", "-", "€", "\x81", "\x1b[1m", "\x7f", "'it''s'", '"\\$5"',
    "cd /x", "exec", "root", "--job", "012345678901", "-e", "A=b", "x" * 40,
]  # fmt: skip
NAMES = [
    "A",
    "PATH",
    "HOME",
    "SHELL",
    "MAILTO",
    "MAILFROM",
    "BASH_ENV",
    "CONTENT_TYPE",
    "IFS",
    "PS4",
    "'A'",
    "LOGNAME",
    "A B",
]
SHELLS = ["/bin/bash", "/bin/sh", "/bin/zsh", "/x/y"]


def command(dice: random.Random) -> str:
    pieces = dice.choices([*PLAIN, *TRAPS] if dice.random() < 0.7 else PLAIN, k=dice.randint(1, 7))
    return dice.choice(["", "bin/x ", "a "]) + "".join(piece + dice.choice(["", " ", " "]) for piece in pieces)


def setting(dice: random.Random) -> str:
    name = dice.choice(NAMES)
    value = "".join(dice.choices([*PLAIN, *TRAPS], k=dice.randint(0, 4)))
    if name in ("SHELL", "HOME"):
        value = dice.choice(SHELLS) if name == "SHELL" else "/" + value
    quote = dice.choice(["", "", "'", '"'])
    return f"{name}{dice.choice(['=', ' = '])}{quote}{value}{quote}"


def line(dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.1:
        return dice.choice(["", " ", "#", "# "]) + (command(dice) if kind < 0.02 else "")
    return setting(dice) if kind < 0.3 else f"{dice.choice(SCHEDULES)} {command(dice)}"


def accepted(seed: int) -> Iterator[tuple[Table, str]]:
    """Yield the accepted tables among the random ones, and their wrapped text."""
    dice = random.Random(seed)
    for _ in range(TABLES):
        text = "\n".join(line(dice) for _ in range(dice.randint(1, 3)))
        try:
            table = parse(text, stored=True)
            file = wrap(table, service="web", revision="r1", program=PROGRAM, config=None)
        except CrontabError:
            continue
        assert [(w.schedule, w.command) for w in installed_jobs(file)] == [(j.schedule, j.command) for j in table.jobs]
        yield table, file


def test_the_host_runs_no_command_of_a_table(tmp_path: Path) -> None:
    jobs: list[tuple[Job, str]] = []
    tables = copied = 0
    for table, file in accepted(20260214):
        tables += 1
        jobs += zip(table.jobs, [text for text in file.split("\n") if is_job(text)], strict=True)
    assert tables > TABLES / 2
    assert len(jobs) > TABLES / 2
    for shell in (["sh"], ["bash", "--posix"]):
        for start in range(0, len(jobs), 2000):
            copied += check(jobs[start : start + 2000], shell, tmp_path)
    assert copied > TABLES / 10


def is_job(text: str) -> bool:
    """Return whether cron reads the line as a job: it is neither blank, a comment nor a mail setting."""
    if not text.strip(" \t") or text.lstrip(" \t").startswith("#"):
        return False
    return not re.match(r"""[ \t]*['"]?(MAILTO|MAILFROM|CONTENT_TYPE|CONTENT_TRANSFER_ENCODING)['"]?[ \t]*=""", text)


def check(jobs: list[tuple[Job, str]], shell: list[str], directory: Path) -> int:
    """Evaluate wrapped commands in a shell and check the arguments. Return how many commands were copied unchanged."""
    texts = []
    for job, written in jobs:
        begin = f"{job.schedule} root {PROGRAM} run --id web --revision r1 "
        assert written.startswith(begin)
        text, stdin = as_cron(written.partition(" root ")[2])
        assert stdin == as_cron(job.command)[1]
        texts.append(text)
    seen = iter(run(shell, [text.removeprefix(PROGRAM) for text in texts], directory))
    direct: list[tuple[str, list[str]]] = []
    for job, _ in jobs:
        argv = next(seen)
        key = argv.index(job_key(job.command))
        assert argv[:5] == ["run", "--id", "web", "--revision", "r1"]
        assert argv[key - 1] == "--job"
        inner, wanted = argv[key + 1 :], as_cron(job.command)[0]
        if inner[1:] != ["-c", wanted]:
            assert wanted.startswith(inner[0])
            direct.append((wanted.removeprefix(inner[0]), inner[1:]))
    # For a copied command, the shell that cron would have used must pass the same arguments to the program.
    assert list(run(shell, [text for text, _ in direct], directory)) == [words for _, words in direct]
    assert list(directory.iterdir()) == []
    return len(direct)


def run(shell: list[str], commands: list[str], directory: Path) -> Iterator[list[str]]:
    """Yield the arguments of each command; `commands` do not include the program."""
    script = RECORD + "".join(f"eval {shlex.quote('printed' + text)}\n" for text in commands)
    for words in ([*shell, "-n"], shell):
        done = subprocess.run(
            words, input=script.encode(), capture_output=True, check=True, cwd=directory, env={"PATH": "/usr/bin:/bin"}
        )
        assert done.stderr == b""
    fields = iter(done.stdout.decode().split("\0")[:-1])
    for number in fields:
        yield [next(fields) for _ in range(int(number))]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.text(
            st.sampled_from(list("ab '\"%\\$;|&<>()*?~#=!`\t-é"))
            | st.characters(codec="utf-8", exclude_characters="\n\0"),
            min_size=1,
        ),
        min_size=1,
        max_size=10,
    )
)
def test_the_host_starts_only_conductor_for_any_command(tmp_path: Path, commands: list[str]) -> None:
    jobs = []
    for text in commands:
        try:
            table = parse(f"* * * * * {text}\n", stored=True)
        except CrontabError:
            continue
        file = wrap(table, service="web", revision="r1", program=PROGRAM, config=None)
        jobs.append((table.jobs[0], file.split("\n")[1]))
    check(jobs, ["sh"], tmp_path)


@pytest.mark.parametrize("trap", TRAPS[:12])
def test_the_traps_have_an_effect(trap: str, tmp_path: Path) -> None:
    """Check that each trap, when not wrapped, has an effect that the tests above would detect."""
    script = f"{RECORD}(touch before); printed a {trap}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, check=False, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}
    )
    assert (tmp_path / "trap").exists() or done.stderr or done.stdout != f"2\0a\0{trap}\0".encode()
