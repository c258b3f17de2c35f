"""The text for /etc/cron.d: the line for each job, how the host's shell reads it, and reading the jobs back."""

import hashlib
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.cron.installed import InstalledJob, installed_jobs, job_key
from conductor.cron.table import CrontabError, parse
from conductor.cron.words import escape, is_literal, shell_quote, split_input, unescape
from conductor.cron.wrap import wrap
from conductor.errors import ConductorError
from tests.support.cron import as_cron

PROGRAM = "/usr/local/bin/conductor"
BEGIN = f"root {PROGRAM} run --id web --revision r1"


def wrapped(text: str, *, config: str | None = None, program: str = PROGRAM) -> str:
    return wrap(parse(text, stored=True), service="web", revision="r1", program=program, config=config)


def job_line(text: str) -> str:
    return wrapped(text).split("\n")[-2]


def inner(text: str) -> str:
    """Return the part of the last job line after the key."""
    key = job_key(parse(text, stored=True).jobs[-1].command)
    return job_line(text).partition(f" --job {key} ")[2]


def test_the_whole_file():
    text = """\
# The app's jobs
MAILTO=ops@example.com
RAILS_ENV=production

*/30 * * * *  bin/rails runner ''
MAILTO=""
RAILS_ENV="it's 5% \\\\ off"
HOME=/app
@reboot cd current && bin/warm %quick%%slow
 # end"""
    assert wrapped(text) == (
        "# Written by Conductor for web r1. Do not edit: the next install replaces this file.\n"
        "# The app's jobs\n"
        "MAILTO=ops@example.com\n"
        "\n"
        f"*/30 * * * * {BEGIN} -e RAILS_ENV=production --job ec2d9bf46757 bin/rails runner ''\n"
        'MAILTO=""\n'
        f"@reboot {BEGIN} --wait-for-docker 5m -e 'RAILS_ENV=it'\\\\''s 5\\% \\\\\\\\ off' -e HOME=/app "
        "--workdir /app --job 355cae31bae9 /bin/sh -c 'cd current && bin/warm '%quick%%slow\n"
        " # end\n"
    )


def test_a_config_path_is_quoted():
    line = wrapped("* * * * * x", config="/srv/it's 100%/a.yml").split("\n")[1]
    text, _ = as_cron(line.partition(" root ")[2])
    assert shlex.split(text)[:7] == [
        PROGRAM,
        "run",
        "--config",
        "/srv/it's 100%/a.yml",
        "--id",
        "web",
        "--revision",
    ]


@pytest.mark.parametrize(
    "command",
    [
        "bin/rails runner ''",
        "bin/x",
        "./x a  b\t'c d' \"e f\" g\\ h  ",
        "bin/rake 'a[b,$c]' \"it's \\$5\" \\; \\$HOME \\\\\\\\",
        "/bin/bash -l -c 'cd /app && bin/x '\\''a b'\\'' >> log'",
        "x --day=\\%F 'a\\%b' A=b",
        "x%in put%\\%",
        "x a%",
        "x 'é' \"~\"",
        "x a:b,c@d+e-f_g./",
        "7z x",
    ],
)
def test_literal_words_are_copied_unchanged(command):
    assert inner(f"* * * * * {command}") == command


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("a; b", "'a; b'"),
        ("a && b", "'a && b'"),
        ("a $HOME", "'a $HOME'"),
        ('a "$HOME"', "'a \"$HOME\"'"),
        ("a `b`", "'a `b`'"),
        ('a "`b`"', "'a \"`b`\"'"),
        ("a > b", "'a > b'"),
        ("a *", "'a *'"),
        ("a [b]", "'a [b]'"),
        ("a ?", "'a ?'"),
        ("a ~", "'a ~'"),
        ("a {b,c}", "'a {b,c}'"),
        ("a # b", "'a # b'"),
        ("# a", "'# a'"),
        ("! a", "'! a'"),
        ("(a)", "'(a)'"),
        ("a é", "'a é'"),
        ("a^b", "'a^b'"),
        ("a 'b", "'a '\\''b'"),
        ("a 'b'; c", "'a '\\''b'\\''; c'"),
        ("a\x0bb", "'a\x0bb'"),
        ("A=b c", "'A=b c'"),
        ("cd /x", "'cd /x'"),
        ("exec x", "'exec x'"),
        (". x", "'. x'"),
        ("source x", "'source x'"),
        ("echo x", "'echo x'"),
        ("test -e x", "'test -e x'"),
        ("[ -e x ]", "'[ -e x ]'"),
        ("time x", "'time x'"),
        ("if x", "'if x'"),
        ("-x y", "'-x y'"),
        ("'' x", "''\\'''\\'' x'"),
        ("'a b' x", "''\\''a b'\\'' x'"),
        ("\\a x", "'\\a x'"),
        ("a; b%in%put", "'a; b'%in%put"),
        ("a; \\%%in", "'a; \\%'%in"),
        ("a; \\\\%in", "'a; \\\\'%in"),
        ("a; '\\%'", "'a; '\\''\\%'\\'''"),
        ("a; \\'%x", "'a; \\'\\'''%x"),
    ],
)
def test_shell_syntax_runs_inside(command, expected):
    assert inner(f"* * * * * {command}") == f"/bin/sh -c {expected}"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("SHELL=/bin/bash", "bin/x a"),
        ("SHELL=/usr/bin/dash", "bin/x a"),
        ("SHELL=/bin/bash\nBASH_ENV=/x", "/bin/bash -c 'bin/x a'"),
        ("SHELL=/bin/bash\nSHELLOPTS=noexec", "/bin/bash -c 'bin/x a'"),
        ("BASH_ENV=/x", "bin/x a"),
        ("SHELL=/bin/zsh", "/bin/zsh -c 'bin/x a'"),
        ("SHELL=/bin/busybox", "/bin/busybox -c 'bin/x a'"),
        ("SHELL=/usr/bin/python3", "/usr/bin/python3 -c 'bin/x a'"),
    ],
)
def test_the_shell_of_the_table_runs_inside(setting, expected):
    assert inner(f"{setting}\n* * * * * bin/x a") == expected


def test_shell_syntax_runs_in_the_shell_of_the_table():
    assert inner("SHELL=/bin/bash\n* * * * * a; b") == "/bin/bash -c 'a; b'"


def test_a_setting_applies_from_its_line_on():
    lines = wrapped("@daily a\nA=1\nB=2\n@daily b\nA=3\n@daily c").split("\n")[1:4]
    options = [line.partition(" r1 ")[2].partition("--job")[0] for line in lines]
    assert options == ["", "-e A=1 -e B=2 ", "-e A=3 -e B=2 "]


@pytest.mark.parametrize(
    "line",
    [
        "MAILTO=a@b",
        " 'MAILTO' = \"a b\" ",
        'MAILTO=""',
        "MAILFROM=x",
        "CONTENT_TYPE=text/plain",
        "CONTENT_TRANSFER_ENCODING=8bit",
    ],
)
def test_mail_settings_stay_on_the_host(line):
    assert wrapped(f"{line}\n@daily x").split("\n")[1:] == [line, f"@daily {BEGIN} --job {job_key('x')} x", ""]


@pytest.mark.parametrize(
    "name", ["PATH", "SHELL", "HOME", "USER", "TZ", "LD_PRELOAD", "BASH_ENV", "CONTENT_LENGTH", "mailto"]
)
def test_other_settings_become_options(name):
    lines = wrapped(f"{name}=/bin/sh\n@daily x").split("\n")
    assert len(lines) == 3
    assert f"-e {name}=/bin/sh " in lines[1]


def test_every_wrapped_command_that_is_too_long_is_a_problem():
    fits = "x" * (998 - len(f"{BEGIN[5:]} --job 123456789012 "))
    assert len(job_line(f"@daily {fits}").partition(" root ")[2]) == 998
    with pytest.raises(CrontabError) as caught:
        wrapped(f"@daily {fits}\n@daily {fits}x\n#\n@daily {fits}\n@daily x {'é' * 460}")
    assert [problem.line for problem in caught.value.problems] == [2, 5]
    sentence = "the wrapped command has 999 bytes, but cron accepts at most 998; move the command into a script"
    assert caught.value.problems[0].sentence == sentence


@pytest.mark.parametrize("program", ["conductor", "A=b", "/bin/conductor\nroot", "/bin/\x00"])
def test_a_program_must_be_an_absolute_path_on_one_line(program):
    with pytest.raises(ConductorError, match=r"^cannot wrap the crontab: "):
        wrapped("@daily x", program=program)


def test_the_key_depends_only_on_the_command():
    assert job_key("bin/x") == hashlib.sha256(b"bin/x").hexdigest()[:12]
    assert inner("A=b\n@daily bin/x") == inner("*/5 * * * * bin/x") == "bin/x"


def test_installed_jobs():
    text = "A=' --job 012345678901 x'\n*/5 * * * mon bin/x a%in\n@reboot cd 'x' && y '\\%' %\\\\\n@daily /bin/sh -c 'a b'\n"
    commands = ["bin/x a%in", "cd 'x' && y '\\%' %\\\\", "/bin/sh -c 'a b'"]
    schedules = ["*/5 * * * mon", "@reboot", "@daily"]
    expected = [InstalledJob("web", "r1", job_key(c), s, c) for s, c in zip(schedules, commands, strict=True)]
    assert installed_jobs(wrapped(text, config="/etc/x y.yml")) == tuple(expected)


def test_foreign_and_edited_lines_are_ignored():
    good = job_line("@daily bin/x a")
    foreign = [
        "",
        "# note",
        "#" + good,
        "# " + good,
        "MAILTO=x",
        "@daily root /bin/x",
        good + " b",
        good.replace("--job ", "--job 0"),
    ]
    assert installed_jobs("\n".join([*foreign, good, *foreign])) == installed_jobs(good)
    assert len(installed_jobs(good)) == 1


TRICKY = st.text(
    st.sampled_from(list("ab '\"%\\$;|&<>(){}[]*?~#=!`^\t-é€\x81\x1b\x7f"))
    | st.characters(codec="utf-8", exclude_characters="\n\0"),
    max_size=30,
)


@settings(max_examples=200)
@given(TRICKY)
def test_input_is_split_as_in_cron(text):
    head, rest = split_input(text)
    shell, stdin = as_cron(text)
    assert (unescape(head), rest[1:]) == (shell, stdin)
    assert head + rest == text


@settings(max_examples=200)
@given(TRICKY)
def test_escape_is_undone_by_cron(text):
    assert as_cron(escape(text)) == (text, "")


@settings(max_examples=200)
@given(TRICKY)
def test_quoting_before_and_after_cron_is_the_same(text):
    head, rest = split_input(text)
    shell, stdin = as_cron(text)
    assert as_cron(shell_quote(head) + rest) == (shell_quote(shell), stdin)


@settings(max_examples=150, deadline=None)
@given(st.lists(TRICKY, min_size=20, max_size=40))
def test_the_shell_sees_literal_words_unchanged(texts):
    """For every text that `is_literal` accepts, the shell must see the same words and do nothing else."""
    found = [text for text in (f"a {text}" for text in texts) if is_literal(text)]
    script = 'a() { printf \'%s\\0\' "$#" "$@"; }\n' + "".join(f"eval {shlex.quote(text)}\n" for text in found)
    done = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, check=True, env={}, cwd="/")
    expected = [word for text in found for word in (str(len(words(text)) - 1), *words(text)[1:])]
    assert done.stdout.decode() == "".join(f"{word}\0" for word in expected)
    assert not done.stderr


def words(text: str) -> list[str]:
    """Split a text without expansions into words by POSIX's quoting rules, without the code under test."""
    found: list[str] = []
    quote, inside = "", False
    letters = iter(text)
    for letter in letters:
        if not quote and letter in " \t":
            inside = False
            continue
        if not inside:
            found.append("")
            inside = True
        if letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        elif letter == "\\" and quote != "'":
            following = next(letters)
            found[-1] += following if not quote or following in '$`"\\' else letter + following
        else:
            found[-1] += letter
    return found
