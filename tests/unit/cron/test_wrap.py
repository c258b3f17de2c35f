"""The text for /etc/cron.d: which line becomes what, what the host's shell makes of it, and the way back."""

import hashlib
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.cron.table import CrontabError, parse
from conductor.cron.words import escaped, literal, quoted, split, unescaped
from conductor.cron.wrap import Wrapped, job_key, unwrapped, wrap
from conductor.errors import ConductorError
from tests.support.cron import as_cron

PROGRAM = "/usr/local/bin/conductor"
BEGIN = f"root {PROGRAM} run --id web --revision r1"


def wrapped(text: str, *, config: str | None = None, program: str = PROGRAM) -> str:
    return wrap(parse(text), service="web", revision="r1", program=program, config=config)


def job_line(text: str) -> str:
    return wrapped(text).split("\n")[-2]


def inner(text: str) -> str:
    """What follows the key."""
    key = job_key(parse(text).jobs[-1].command)
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
        "# Written by Conductor for web r1; it writes this file anew at each install.\n"
        "# The app's jobs\n"
        "MAILTO=ops@example.com\n"
        "\n"
        f"*/30 * * * * {BEGIN} -e RAILS_ENV=production --job ec2d9bf46757 bin/rails runner ''\n"
        'MAILTO=""\n'
        f"@reboot {BEGIN} --wait-for-docker 5m -e 'RAILS_ENV=it'\\\\''s 5\\% \\\\\\\\ off' -e HOME=/app "
        "--workdir /app --job 355cae31bae9 /bin/sh -c 'cd current && bin/warm '%quick%%slow\n"
        " # end\n"
    )


def test_a_configuration_of_ones_own():
    line = wrapped("* * * * * x", config="/srv/it's 100%/a.yml").split("\n")[1]
    text, _ = as_cron(line.partition(" root ")[2])
    assert shlex.split(text)[:7] == [PROGRAM, "run", "--config", "/srv/it's 100%/a.yml", "--id", "web", "--revision"]


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
def test_literal_words_are_copied_as_they_are(command):
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


def test_shell_syntax_goes_to_the_shell_of_the_table():
    assert inner("SHELL=/bin/bash\n* * * * * a; b") == "/bin/bash -c 'a; b'"


def test_settings_hold_from_their_line_on():
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
def test_mail_settings_stay_as_they_are_and_do_not_travel(line):
    assert wrapped(f"{line}\n@daily x").split("\n")[1:] == [line, f"@daily {BEGIN} --job {job_key('x')} x", ""]


@pytest.mark.parametrize(
    "name", ["PATH", "SHELL", "HOME", "USER", "TZ", "LD_PRELOAD", "BASH_ENV", "CONTENT_LENGTH", "mailto"]
)
def test_no_other_setting_stays(name):
    lines = wrapped(f"{name}=/bin/sh\n@daily x").split("\n")
    assert len(lines) == 3
    assert f"-e {name}=/bin/sh " in lines[1]


def test_all_commands_that_grow_too_long_at_once():
    fits = "x" * (998 - len(f"{BEGIN[5:]} --job 123456789012 "))
    assert len(job_line(f"@daily {fits}").partition(" root ")[2]) == 998
    with pytest.raises(CrontabError) as caught:
        wrapped(f"@daily {fits}\n@daily {fits}x\n#\n@daily {fits}\n@daily x {'é' * 460}")
    assert [number for number, _ in caught.value.problems] == [2, 5]
    assert "takes 999 bytes when wrapped, and cron at most 998: put it into a script" in caught.value.details[0]


@pytest.mark.parametrize("program", ["conductor", "A=b", "/bin/conductor\nroot", "/bin/\x00"])
def test_a_program_that_the_host_would_misread(program):
    with pytest.raises(ConductorError, match="cannot write a crontab"):
        wrapped("@daily x", program=program)


def test_the_key_is_that_of_the_command_alone():
    assert job_key("bin/x") == hashlib.sha256(b"bin/x").hexdigest()[:12]
    assert inner("A=b\n@daily bin/x") == inner("*/5 * * * * bin/x") == "bin/x"


def test_back_from_a_file():
    text = "A=' --job 012345678901 x'\n*/5 * * * mon bin/x a%in\n@reboot cd 'x' && y '\\%' %\\\\\n@daily /bin/sh -c 'a b'\n"
    commands = ["bin/x a%in", "cd 'x' && y '\\%' %\\\\", "/bin/sh -c 'a b'"]
    schedules = ["*/5 * * * mon", "@reboot", "@daily"]
    expected = [Wrapped("web", "r1", job_key(c), s, c) for s, c in zip(schedules, commands, strict=True)]
    assert unwrapped(wrapped(text, config="/etc/x y.yml")) == tuple(expected)


def test_foreign_and_edited_lines_are_left_out():
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
    assert unwrapped("\n".join([*foreign, good, *foreign])) == unwrapped(good)
    assert len(unwrapped(good)) == 1


TRICKY = st.text(
    st.sampled_from(list("ab '\"%\\$;|&<>(){}[]*?~#=!`^\t-é€\x81\x1b\x7f"))
    | st.characters(codec="utf-8", exclude_characters="\n\0"),
    max_size=30,
)


@settings(max_examples=500)
@given(TRICKY)
def test_the_rule_of_percent_is_crons(text):
    head, rest = split(text)
    shell, stdin = as_cron(text)
    assert (unescaped(head), rest[1:]) == (shell, stdin)
    assert head + rest == text


@settings(max_examples=500)
@given(TRICKY)
def test_escaping_undoes_it(text):
    assert as_cron(escaped(text)) == (text, "")


@settings(max_examples=500)
@given(TRICKY)
def test_quoting_commutes_with_cron(text):
    head, rest = split(text)
    shell, stdin = as_cron(text)
    assert as_cron(quoted(head) + rest) == (quoted(shell), stdin)


@settings(max_examples=150, deadline=None)
@given(st.lists(TRICKY, min_size=20, max_size=40))
def test_literal_words_are_what_the_shell_makes_of_them(texts):
    """`literal` is asked of anything; what it takes, the shell must take as the same words, and do nothing else."""
    found = [text for text in (f"a {text}" for text in texts) if literal(text)]
    script = 'a() { printf \'%s\\0\' "$#" "$@"; }\n' + "".join(f"eval {shlex.quote(text)}\n" for text in found)
    done = subprocess.run(["/bin/sh"], input=script.encode(), capture_output=True, check=True, env={}, cwd="/")
    expected = [word for text in found for word in (str(len(words(text)) - 1), *words(text)[1:])]
    assert done.stdout.decode() == "".join(f"{word}\0" for word in expected)
    assert not done.stderr


def words(text: str) -> list[str]:
    """The words of a text without expansions by POSIX's rules of quoting, read without any of our own code."""
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
