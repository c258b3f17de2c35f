"""Debian's cron runs each case twice, as the app wrote it and wrapped, with programs that record what they receive.

Inside the container argv, standard input and the table's settings are those that cron passes to the unwrapped job. The
process on the host receives none of the settings. Rejected lines are given to the real cron too: it rejects or misreads them.
"""

import contextlib
import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from conductor.cron.installed import job_key
from conductor.cron.table import MAX_COMMAND_BYTES, CrontabError, Job, Setting, parse
from conductor.cron.wrap import wrap
from tests.support.cron import PrivateCron, checked_by_crontab

# Every job starts within the minute after cron does, and cron wakes up in its first second.
FIRED_SECONDS = 110.0

# Writes its words, standard input, environment and directory to seen/CASE.SIDE, all at once.
RECORD = """\
#!/bin/sh
to={here}/seen/$CASE.${{SIDE:-plain}}
mkdir "$to.$$" && cd "$to.$$" || exit
printf '%s\\0' "$0" "$@" >argv
cat >stdin
env -0 >environment
printf %s "$OLDPWD" >directory
mv -T "$to.$$" "$to" 2>/dev/null || rm -r "$to.$$"
"""
# Parses its options as `conductor run` does, records what the host passed, and runs the command as the container would.
CONDUCTOR = """\
#!{python} -IS
import json, os, sys
words, given, directory = sys.argv[1:], {{"SIDE": "wrapped", "PATH": "/usr/bin:/bin"}}, "/"
assert words.pop(0) == "run"
while words[0].startswith("-"):
    option, value = words.pop(0), words.pop(0)
    if option == "-e":
        name, _, given[name] = value.partition("=")
    if option == "--workdir":
        directory = value
    key = value  # --job is the last one
    assert option in ("--id", "--revision", "--config", "--wait-for-docker", "-e", "--workdir", "--job"), option
assert option == "--job"
with open("{here}/host/" + given["CASE"], "w") as file:
    json.dump([dict(os.environ), sys.argv, words], file)
os.chdir(directory)
os.execvpe(words[0], words, given)
"""

# REC is the program that records; HERE is its directory. COPIED stay literal words, SHELL goes to a shell inside.
COPIED = {
    "plain": "* * * * * REC",
    "contract": "*/1 * * * *  REC runner ''",
    "blanks": " \t* *\t*  * * \tREC a   b\tc  ",
    "names": "* * * jan-dec sun-sat REC a",
    "single quotes": "* * * * * REC 'a b' '' '$HOME' 'a;b' '\"' 'x'y",
    "double quotes": '* * * * * REC "a b" "" "it\'s" "a;b" "x"y',
    "escapes in quotes": '* * * * * REC "\\$HOME" "\\`id\\`" "a\\"b" "\\n"',
    "escapes": "* * * * * REC \\$HOME a\\ b \\' \\\" \\; \\* \\~",
    "percent": "* * * * * REC +\\%F 'a\\%b' \\%",
    "pairs": "* * * * * REC '\\\\' \"\\\\\\\\\" '\\\\\\%' '\\x'",
    "input": "* * * * * REC a%one line",
    "input of lines": "* * * * * REC a %one%two%%three%",
    "input with escapes": "* * * * * REC a%50\\% \\\\% \\x \\\\\\% $HOME 'é",
    "input with a backslash at its end": "* * * * * REC%a\\",
    "empty input": "* * * * * REC a%",
    "input after a pair": "* * * * * REC '\\\\'%in",
    "utf-8": "* * * * * REC 'é €' \"ł\" \\é",
    "control characters": "* * * * * REC '\x01\x1b\x7f\x0b' \"\x81\"",
    "an option alike": "* * * * * REC --job 012345678901 -e A=b -- -x",
    "other signs": "* * * * * REC a:b,c@d+e-f_g./=%%",
    "whenever": "* * * * * /bin/bash -l -c 'cd HERE && REC '\\''a b'\\'' \"$PWD\"'",
    "a shell of its own": '* * * * * /bin/sh -c \'REC "$0" $(printf "1\\%s" 2)\' zero',
    "reboot": "@reboot REC at boot",
    "bash": "SHELL=/bin/bash\n* * * * * REC 'a' b",
    "no newline": "A=1\n* * * * * REC",
}
SHELL = {
    "and": "* * * * * cd HERE && REC a",
    "sequence": "* * * * * true; REC a;",
    "variables": "A=1\nB='2  3'\n* * * * * REC $A \"$B\" $B ${A}x $UNSET",
    "substitution": "* * * * * REC $(printf '\\%s-' a b) `printf x`",
    "date": '* * * * * REC "$(printf +\\%F)" | cat',
    "pipe": "* * * * * printf 'a b' | REC",
    "redirection": "* * * * * REC a >/dev/null 2>&1",
    "redirection of input": "* * * * * REC a </dev/null",
    "background": "* * * * * REC a & wait",
    "group": "* * * * * { REC a; }",
    "subshell": "* * * * * (REC a)",
    "assignment": "* * * * * A='x y' REC \"$A\"",
    "assignment read back": "* * * * * A=x; REC $A",
    "if": "* * * * * if test -d HERE; then REC yes; else REC no; fi",
    "exec": "* * * * * exec REC a",
    "dot": "* * * * * . HERE/dotted; REC $DOTTED",
    "glob": "* * * * * REC HERE/glob/*",
    "tilde": "HOME=/usr\n* * * * * REC ~ ~/x",
    "comment": "* * * * * REC a # and why",
    "negation": "* * * * * ! REC a",
    "quotes in quotes": "* * * * * REC 'it'\\''s' \"it's\"; true",
    "many quotes": "* * * * * REC '' ''\\'''\\''' \"'\"'\"'; true",
    "backslashes": "* * * * * REC '\\\\' \\\\\\\\ \"\\\\\\\\\" '\\x' \\'; true",
    "percent to a shell": "* * * * * REC \\% '\\%' \\\\\\%; true",
    "backslash before a quote": "* * * * * REC \\'a\\'; true",
    "input to a shell": "* * * * * cat | REC a%one%two \\% '$HOME' \\\\%",
    "input after a quote": "* * * * * true; REC 'a'%'in",
    "input after a pair to a shell": "* * * * * true; REC '\\\\'%in",
    "unquoted utf-8": "* * * * * REC é€ ł",
    "control characters to a shell": "* * * * * REC \x01\x1b\x7f; true",
    "eight bits": "* * * * * REC \u0081 \u0088 'ā' ā; true",
    "echo": "* * * * * echo 'a\\nb' | REC",
    "an unclosed brace": "* * * * * REC { }",
    "bash syntax": 'SHELL=/bin/bash\n* * * * * [[ a == a ]] && REC {a,b} "${BASH_VERSION:+bash}" <<<here',
    "bash reads a file first": "SHELL=/bin/bash\nBASH_ENV=HERE/dotted\n* * * * * REC $DOTTED",
    "no shell at all": "SHELL=HERE/record-as-shell\n* * * * * any thing; 'at' $all % with \\% input",
    "no shell and plain words": "SHELL=HERE/record-as-shell\n* * * * * any thing",
    "reboot to a shell": "@reboot cd / && REC $PWD%in",
    "the limit": "* * * * * REC PAD; true",
}
SETTINGS = {
    "set plainly": "A=b\nB = c d  \nC=it's 100% \\% \\\\ $HOME `id`\n* * * * * REC",
    "set in quotes": "A='b c'\nB=\"it's\" \n'C'='d\"e'\n\"D\" = \"\"\nE=' f'\n* * * * * REC",
    "set to letters": 'A=é\nB=\x01\nC=a=b\nD=a\tb\nE="\\"\n* * * * * REC',
    "set again": "A=1\nB=2\nA=3\n* * * * * REC\nA=4",
    "set for the shell": 'A=\'$(id) "\'\n* * * * * REC "$A" $A',
    "directory": "HOME=HERE/a directory\n* * * * * REC",
    "directory of a shell": 'HOME="HERE/a directory"\n* * * * * REC "$PWD" *',
    "path": "PATH=HERE:/usr/bin:/bin\n* * * * * record a",
    "its own names": "USER=u\nTZ=Asia/Tokyo\nLANG=C\nLD_LIBRARY_PATH=/x\nIFS=x\nSHELL=/bin/bash\n* * * * * REC axb",
    "mail": 'MAILTO="a@b"\nMAILFROM=c\nCONTENT_TYPE=text/plain\nCONTENT_TRANSFER_ENCODING=8bit\nA=b\n* * * * * REC',
    "no mail": 'MAILTO=""\nA=b\n* * * * * REC',
}
CASES = {**COPIED, **SHELL, **SETTINGS}
CONFIG = "/etc/a b%.yml"
MAIL = {b"MAILTO", b"MAILFROM", b"CONTENT_TYPE", b"CONTENT_TRANSFER_ENCODING"}

CRON_REFUSES = [
    "A=", "A='b", "A='b'c", "export A=b", "61 * * * * x", "* 24 * * * x", "* * 0 * * x", "* * * 13 * x", "* * * * 8 x",
    "1/20 * * * * x", "*/0 * * * * x", "5-64/30 * * * * x", "5, * * * * x", "* * L * * x", "* * * * ? x", "* * * * monday x",
    "jan * * * * x", "@Daily x", "@every_minute x", "bin/x", "* * * * * * x", "\ufeff* * * * * x", "* * * * * " + "x" * 999,
    "\f# x", "A=b\r\n\r", "* * * * * x\0y",
]  # fmt: skip
CRON_MISREADS = [
    "* * * * 5#2 x", "0~30 * * * * x", "*5 * * * * x", "4:30 * * * * x", "1.5 * * * * x", "*-5 * * * * x", "5? * * * * x",
    "4294967301 * * * * x", "* 22-2 * * * x", "* * * * fri-mon x", "0 0 30 2 * x", "0=1 * * * * x", "@daily = x", "A-B=c",
    "CRON_TZ=UTC", "LOGNAME=x", "SHELL=bash", "HOME=app", "A='b '", "A=\"'b'\"", "A=" + "b" * 1000, "* * * * *", "@daily",
    "* * * * * %in", "* * * * * x \\", "* * * * * x\r",
]  # fmt: skip


class Seen:
    """What one job received, plain or wrapped."""

    def __init__(self, place: Path) -> None:
        self.argv = (place / "argv").read_bytes()
        self.stdin = (place / "stdin").read_bytes()
        self.directory = (place / "directory").read_bytes()
        self.environment = variables((place / "environment").read_bytes())


class Ran:
    """All cases after cron has run them, from the directory with their records."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.programs = {"HERE": str(here), "REC": str(here / "record")}
        self.number = {name: str(number) for number, name in enumerate(CASES)}
        self.programs["PAD"] = ""
        self.programs["PAD"] = "x" * (
            MAX_COMMAND_BYTES - len(self.wrapped("the limit").split(" root ")[1].encode()) + 1
        )

    def text(self, case: str) -> str:
        """Return the app's table."""
        text = f"CASE={self.number[case]}\n{CASES[case]}"
        for name, path in self.programs.items():
            text = text.replace(name, path)
        return text

    def seen(self, case: str, side: str) -> Seen:
        return Seen(self.here / "seen" / f"{self.number[case]}.{side}")

    def on_host(self, case: str) -> tuple[dict[str, str], list[str], list[str]]:
        """Return the environment and words that cron's shell passed to Conductor, and the command in them."""
        environment, argv, command = json.loads((self.here / "host" / self.number[case]).read_text())
        return environment, argv, command

    def wrapped(self, case: str) -> str:
        """Return the wrapped table."""
        program = str(self.here / "conductor")
        return wrap(parse(self.text(case)), service="web", revision="r1", program=program, config=CONFIG)

    def complete(self) -> bool:
        found = {path.name for path in (self.here / "seen").iterdir()}
        return found >= {f"{number}.{side}" for number in self.number.values() for side in ("plain", "wrapped")}


def variables(text: bytes) -> dict[bytes, bytes]:
    return {name: value for name, _, value in (pair.partition(b"=") for pair in text.split(b"\0") if pair)}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Every case after cron has run it, plain and wrapped."""
    here = tmp_path_factory.mktemp("c")
    made = Ran(here)
    for name in ("seen", "host", "tables", "hidden", "glob", "a directory"):
        (here / name).mkdir()
    for name in ("a b", "c"):
        (here / "glob" / name).touch()
    (here / "dotted").write_text("DOTTED='from a file'\n")
    program(here / "record", RECORD, here)
    shutil.copy(here / "record", here / "record-as-shell")
    program(here / "conductor", CONDUCTOR, here)
    for case, number in made.number.items():
        install(here / "tables" / f"plain-{number}", as_system_table(made.text(case)))
        install(here / "tables" / f"wrapped-{number}", made.wrapped(case))
    for number, line in enumerate(CRON_REFUSES):
        install(here / "tables" / f"bad-{number}", f"CASE=bad{number}\n* * * * * root {here}/record\n{line}\n")
    with PrivateCron(here / "tables", here / "hidden") as cron:
        cron.wait_for(made.complete, FIRED_SECONDS)
        time.sleep(1)  # a job that must not run would have been started in the same second
    yield made
    shutil.rmtree(here)


def program(path: Path, text: str, here: Path) -> None:
    path.write_text(text.format(here=here, python=sys.executable))
    path.chmod(0o755)


def install(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    path.chmod(0o600)


def as_system_table(text: str) -> str:
    """Return a user's table with the column for the user that /etc/cron.d requires."""
    lines = parse(text).lines
    return "".join(f"{x.schedule} root {x.command}\n" if isinstance(x, Job) else f"{x.raw}\n" for x in lines)


@pytest.mark.parametrize("case", CASES)
def test_a_job_receives_what_cron_passes_to_the_plain_one(ran: Ran, case: str) -> None:
    plain, wrapped = ran.seen(case, "plain"), ran.seen(case, "wrapped")
    assert wrapped.argv == plain.argv
    assert wrapped.stdin == plain.stdin
    table = parse(ran.text(case))
    names = {line.name.encode() for line in table.lines if isinstance(line, Setting)}
    assert {n: wrapped.environment.get(n) for n in names - MAIL} == {n: plain.environment.get(n) for n in names - MAIL}
    assert not MAIL & wrapped.environment.keys()
    if b"HOME" in names:
        assert wrapped.directory == plain.directory


@pytest.mark.parametrize("case", CASES)
def test_the_host_runs_one_command_without_settings(ran: Ran, case: str) -> None:
    environment, argv, command = ran.on_host(case)
    kept = {name: value for name, value in environment.items() if name.encode() not in MAIL}
    assert kept == ran.on_host("plain")[0]
    assert "CASE" not in environment
    expected = [str(ran.here / "conductor"), "run", "--config", CONFIG, "--id", "web", "--revision", "r1"]
    assert argv[:8] == expected
    assert argv[-len(command) - 2 :] == ["--job", job_key(parse(ran.text(case)).jobs[0].command), *command]
    assert ("--wait-for-docker" in argv) == case.startswith("reboot")
    assert ("--workdir" in argv) == ("HOME=" in CASES[case])


@pytest.mark.parametrize("case", [*COPIED, *SHELL])
def test_only_shell_syntax_gets_a_shell(ran: Ran, case: str) -> None:
    *_, command = ran.on_host(case)
    shell = next(
        (x.value for x in parse(ran.text(case)).lines if isinstance(x, Setting) and x.name == "SHELL"), "/bin/sh"
    )
    assert (command[:2] == [shell, "-c"] and len(command) == 3) == (case in SHELL)


def test_mail_settings_reach_cron(ran: Ran) -> None:
    environment = ran.on_host("mail")[0]
    values = [environment.get(name.decode()) for name in sorted(MAIL)]
    assert values == ["8bit", "text/plain", "c", "a@b"]


@pytest.mark.parametrize("line", CRON_REFUSES, ids=lambda line: line[:30])
def test_what_cron_refuses_is_refused(ran: Ran, tmp_path: Path, line: str) -> None:
    """One such line also keeps cron from every other job of the file."""
    with pytest.raises(CrontabError):
        parse(line)
    accepted, output = checked_by_crontab(f"{line}\n".encode(), tmp_path / "table")
    if line == "A=" and int(platform.freedesktop_os_release()["VERSION_ID"].partition(".")[0]) >= 13:
        assert accepted, output  # cron of Debian 13 does
        return
    assert not accepted, output
    number = CRON_REFUSES.index(line)
    assert not (ran.here / "seen" / f"bad{number}.plain").exists()


@pytest.mark.parametrize("line", CRON_MISREADS, ids=lambda line: line[:30])
def test_what_cron_accepts_but_misreads_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(CrontabError):
        parse(line)
    accepted, output = checked_by_crontab(f"{line}\n".encode(), tmp_path / "table")
    assert accepted, output


def test_the_longest_command_was_run(ran: Ran) -> None:
    line = ran.wrapped("the limit").split("\n")[1]
    assert len(line.partition(" root ")[2].encode()) == MAX_COMMAND_BYTES


def test_the_limits_are_crons(tmp_path: Path) -> None:
    for table in ("#\n" * 10_000, "A=" + "b" * 996 + "\n", "* * * * * " + "x" * 998 + "\n"):
        assert parse(table).lines
        assert checked_by_crontab(table.encode(), tmp_path / "table")[0]
    jobs = "@daily x\n"
    assert checked_by_crontab((jobs * 10_000).encode(), tmp_path / "table")[0]
    assert not checked_by_crontab((jobs * 10_001).encode(), tmp_path / "table")[0]
    with pytest.raises(CrontabError):
        parse(jobs * 10_001)


def test_cron_leaves_nothing_behind(ran: Ran) -> None:
    """Its files were private, and its processes have ended."""
    assert not list(Path("/etc/cron.d").glob("wrapped-*"))
    assert not Path("/run/crond.reboot").exists() or Path("/run/crond.pid").exists()  # a daemon of the machine's own
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            assert str(ran.here).encode() not in process.read_bytes()


def test_there_are_enough_cases() -> None:
    kinds: list[Mapping[str, str] | list[str]] = [COPIED, SHELL, SETTINGS, CRON_REFUSES, CRON_MISREADS]
    assert sum(map(len, kinds)) >= 120
