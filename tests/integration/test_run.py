"""`conductor run`: a command in the container of a service, with exact streams and exit code, and nothing left behind."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import QUICK
from tests.support.commands import Result, Spawned
from tests.support.daemon_between import DaemonBetween, Trouble
from tests.support.host import TestHost
from tests.support.tasks import (
    RUN,
    SECRET,
    at_once,
    definition,
    discard,
    elsewhere,
    job,
    left,
    processes,
    shell,
    tasks_of,
    volume,
)

MIB = 2**20
DEAF = "trap '' TERM; while :; do sleep 0.05; done"
UNTIL_GO = "while [ ! -e /volume/go ]; do sleep 0.05; done"
WAITS = "import time; print('ready', flush=True); time.sleep(60)"


@pytest.fixture(scope="module")
def shared(images: None) -> Iterator[TestHost]:
    with TestHost() as made:
        define(made)
        made.upgrade("r1", check=True)
        yield made


@pytest.fixture
def host(shared: TestHost, request: pytest.FixtureRequest) -> Iterator[TestHost]:
    """`web` r1 is live. Each test leaves no task behind."""
    before = request.session.testsfailed
    define(shared)
    yield shared
    if request.session.testsfailed > before:
        print(shared.describe())
    rest = left(shared)
    discard(shared)
    assert rest == []


def define(host: TestHost, **more: Any) -> None:
    web = definition(host)
    cron = {
        f"{overlap}s": definition(host, cron={"generate": ["true"], "overlap": overlap, "timeout": "20s"})
        for overlap in ("allow", "skip", "queue")
    }
    far = {**QUICK, "image": "127.0.0.1:1/none", "nginx": None}
    never = {**QUICK, "nginx": None}
    host.define({"web": web, "never": never, "far": far, **cron, **more})


def refused(result: Result, *words: str) -> None:
    """Assert that Conductor could not run it: exit code 125, an error with these words, nothing on stdout."""
    result.expect(125)
    assert [word for word in words if word not in result.stderr] == [], str(result)
    assert "Traceback" not in result.stderr
    assert "this is a bug" not in result.stderr
    assert "error: " in result.stderr
    assert result.stdout == ""


# The same container.

FULL: dict[str, Any] = {
    "command": ["-c", "sleep 300"],
    "entrypoint": ["sh"],
    "workdir": "/srv",
    "user": "65534:65534",
    "env": {"A": "1", "B": "two words"},
    "port": None,
    "health": {"command": ["true"], **dict.fromkeys(["path", "gate_interval", "timeout", "start_timeout"])},
    "stop": {"signal": "SIGINT", "grace": "1s"},
    "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
    "memory": "64MiB",
    "cpus": 0.5,
    "shm_size": "8MiB",
    "init": True,
    "read_only": True,
    "tmpfs": ["/tmp"],
    "cap_add": ["NET_ADMIN"],
    "cap_drop": ["CHOWN"],
    "ulimits": {"nofile": {"soft": 512, "hard": 1024}},
    "extra_hosts": {"db": "10.0.0.9"},
    "labels": {"team": "shop"},
}
MUST_DIFFER = {"conductor.name", "conductor.kind", "conductor.address", "conductor.change", "conductor.job"}


def test_its_container_is_that_of_the_service(host: TestHost) -> None:
    (host.directory / "env").write_text("C=3\n")
    define(host, full={**definition(host, env_file=str(host.directory / "env")), **FULL})
    host.upgrade("r1", "full", check=True)
    name = host.conductor("run", "--id", "full", "--detach", "--", "-c", "sleep 300", check=True).stdout.strip()
    (service,) = (
        host.containers("full")[:1] if host.containers("full")[0].kind == "service" else host.containers("full")[1:]
    )
    theirs, ours = (host.daemon.api.inspect_container(c) for c in (service.id, name))
    assert ours["HostConfig"] == theirs["HostConfig"]
    assert len(ours["HostConfig"]["Ulimits"]) == 1
    for found in (ours, theirs):
        del found["Config"]["Hostname"]
    labels = [found["Config"].pop("Labels") for found in (ours, theirs)]
    assert {name for name in labels[0] | labels[1] if labels[0].get(name) != labels[1].get(name)} <= MUST_DIFFER
    assert labels[0]["conductor.kind"] == "task"
    assert labels[0]["conductor.address"] == ""
    assert ours["Config"] == theirs["Config"]
    for key in ("Image", "Path", "Args", "MountLabel", "AppArmorProfile", "Platform"):
        assert ours[key] == theirs[key]
    assert [(m["Source"], m["RW"]) for m in ours["Mounts"]] == [(m["Source"], m["RW"]) for m in theirs["Mounts"]]
    (network,) = ours["NetworkSettings"]["Networks"]
    assert list(theirs["NetworkSettings"]["Networks"]) == [network]
    assert int(ours["NetworkSettings"]["Networks"][network]["IPAddress"].split(".")[3]) >= 192
    # One with a terminal and an input differs in just these.
    with_input = host.spawn("run", "-i", "--id", "full", "--", "-c", "cat", stdin=subprocess.PIPE)
    host.wait_for(lambda: [c.state for c in tasks_of(host)] == ["running"] * 2, "the second task")
    (third,) = (c for c in tasks_of(host) if c.name != name)
    found = host.daemon.api.inspect_container(third.id)
    differing = {key for key, value in found["Config"].items() if ours["Config"].get(key) != value}
    assert differing == {"Hostname", "Labels", "Cmd", "OpenStdin", "StdinOnce"}
    assert found["HostConfig"] == ours["HostConfig"]
    assert with_input.process.stdin is not None
    with_input.process.stdin.close()
    with_input.wait(20).expect(0)
    discard(host)


# Streams, options and exit codes.


def test_streams_apart_and_input_to_its_end(host: TestHost) -> None:
    given = bytes(range(256)) * 64
    (host.directory / "given").write_bytes(given)
    with (host.directory / "given").open("rb") as stdin:
        result = host.spawn(*RUN, "-i", "sh", "-c", "cat; echo on stderr >&2; exit 3", stdin=stdin)
        ended = result.wait(30).expect(3)
    assert result.stdout_file.read_bytes() == given
    assert ended.stderr == "on stderr\n"


def test_a_task_leaves_the_input_of_the_script_around_it(host: TestHost) -> None:
    script = "printf 'a\\nb\\n' | while read x; do \"$@\" cat; echo $x; done"
    done = shell(host, script, *RUN)
    assert (done.returncode, done.stdout) == (0, b"a\nb\n")


def test_a_volume_whose_file_is_missing(host: TestHost) -> None:
    settings = host.directory / "settings.yml"
    define(host, mounts=definition(host, volumes=[f"{settings}:/etc/app.yml:ro"]))
    for words in (
        ("run", "--id", "mounts", "--revision", "r1", "true"),
        ("service", "upgrade", "--id", "mounts", "--revision", "r1"),
    ):
        result = host.conductor(*words)
        assert (result.code, str(settings) in result.stderr, settings.exists()) == (
            125 if words[0] == "run" else 1,
            True,
            False,
        )
    settings.write_text("a: 1\n")
    assert (
        host.conductor("run", "--id", "mounts", "--revision", "r1", "cat", "/etc/app.yml", check=True).stdout
        == "a: 1\n"
    )


OPTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "options end at the first word": (("echo", "--id", "other", "-e", "X", "--help", "--", "-t"), "--id other -e X --help -- -t\n"),
    "two dashes before it": (("--", "echo", "-n", "x"), "x"),
    "the service's environment": (("sh", "-c", 'echo "$GREETING $TOKEN $REVISION"'), f"hello {SECRET} r1\n"),
    "-e": (
        ("-e", "GREETING=a=b c", "--env", "HERE", "-e", "EMPTY=", "-e", "NOWHERE", "sh", "-c", 'echo "$GREETING|$HERE|${EMPTY-unset}|${NOWHERE-unset}"'),
        "a=b c|from here||unset\n",
    ),
    "--workdir": (("--workdir", "/var/tmp", "pwd"), "/var/tmp\n"),
    "the workdir of the image": (("pwd",), "/app\n"),
    "--revision": (("--revision", "r2", "sh", "-c", "echo $REVISION"), "r2\n"),
    "an empty word": (("sh", "-c", 'printf "<%s>" "$@"', "sh", "a", "", "b c", "'\"$x\n"), "<a><><b c><'\"$x\n>"),
    "UTF-8": (("echo", "für €"), "für €\n"),
}  # fmt: skip


def test_options(host: TestHost) -> None:
    results = at_once(
        host, *((*RUN, *words) for words, _ in OPTIONS.values()), env={"HERE": "from here", "LC_ALL": "C.UTF-8"}
    )
    found = {name: (r.code, r.stdout, r.stderr) for name, r in zip(OPTIONS, results, strict=True)}
    assert found == {name: (0, said, "") for name, (_, said) in OPTIONS.items()}


def test_exit_codes_are_those_of_the_task(host: TestHost) -> None:
    codes = [0, 1, 2, 64, 124, 125, 126, 127, 128, 130, 137, 255]
    results = at_once(host, *((*RUN, "sh", "-c", f"exit {code}") for code in codes))
    assert [(r.code, r.output) for r in results] == [(code, "") for code in codes]
    line = host.history()[-1]
    assert (line["action"], line["service"], line["to"], line["outcome"]) == ("task", "web", "r1", "done")
    assert line["exit_code"] in codes
    assert line["seconds"] >= 0
    assert sorted(line["exit_code"] for line in host.history()[-len(codes) :]) == codes


REFUSED: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "not found": ((*RUN, "nosuch", "-x"), 127, ("cannot run nosuch: ", "executable file not found")),
    "no such file": ((*RUN, "/nosuch/x"), 127, ("cannot run /nosuch/x: ", "no such file or directory")),
    "not executable": ((*RUN, "/etc/passwd"), 126, ("cannot run /etc/passwd: ", "permission denied")),
    "a directory": ((*RUN, "/etc"), 126, ("cannot run /etc: ",)),
    "unknown id": (("run", "--id", "wep", "true"), 125, ('cannot find service "wep"', "did you mean web?")),
    "no live revision": (("run", "--id", "never", "true"), 125, ("cannot find a release of never: ",)),
    "no command": (RUN, 125, ("cannot run a task: the command is missing",)),
    "an empty command": ((*RUN, ""), 125, ("cannot run a task: the command is missing",)),
    "no id": (("run", "true"), 125, ("--id",)),
    "a bad option": ((*RUN, "--nosuch", "true"), 125, ("--nosuch",)),
    "a bad duration": ((*RUN, "--timeout", "soon", "true"), 125, ("must be a duration",)),
    "no time": ((*RUN, "--timeout", "0", "true"), 125, ("cannot use --timeout 0",)),
    "a variable without a name": ((*RUN, "-e", "=x", "true"), 125, ("cannot set a variable: its name is missing",)),
    "a terminal where none is": ((*RUN, "-t", "true"), 125, ("cannot attach a terminal: ",)),
    "detached with a limit": ((*RUN, "--detach", "--timeout", "3s", "true"), 125, ("--detach cannot be combined with",)),
    "a job key that is a path": ((*RUN, "--job", "../../x", "true"), 125, ("cannot use job key '../../x'",)),
    "a word that is not UTF-8": ((*RUN, "echo", os.fsdecode(b"\xff\xfe")), 125, ("not UTF-8",)),
    "a relative directory": ((*RUN, "--workdir", "tmp", "true"), 125, ("cannot create container web-r1-", "absolute path")),
    "a bad name": ((*RUN, "--name", "a b", "true"), 125, ("cannot create container a b: Invalid container name",)),
    "an image that cannot be pulled": (("run", "--id", "far", "--revision", "r1", "true"), 125, ("cannot pull image 127.0.0.1:1/none:r1",)),
    "a console that is not defined": (("console", "--id", "web"), 125, ("cannot open a console for web: its definition has no `console` key",)),
    "no definitions": ((*RUN, "--config", "/nonexistent", "true"), 125, ("cannot read /nonexistent",)),
}  # fmt: skip


def test_what_cannot_be_run(host: TestHost) -> None:
    """The message is Conductor's. The exit code shows whether Conductor or the command failed."""
    results = at_once(host, *(words for words, _, _ in REFUSED.values()))
    for (words, code, sentences), result in zip(REFUSED.values(), results, strict=True):
        assert (words, result.code) == (words, code), str(result)
        assert [s for s in sentences if s not in result.stderr] == [], str(result)
        assert "Traceback" not in result.output
        assert "bug" not in result.stderr
        assert result.stdout == "", str(result)
    assert {r.code for r in results} == {125, 126, 127}


def test_docker_is_down(host: TestHost) -> None:
    config = str(elsewhere(host, "unix:///nonexistent/docker.sock"))
    for words in (("--revision", "r1"), ("--wait-for-docker", "500ms"), ()):
        refused(
            host.conductor(*RUN, "--config", config, *words, "true"),
            "cannot reach Docker at unix:///nonexistent/docker.sock",
        )


@pytest.mark.parametrize("options", [("--wait-for-docker", "20s"), ("--job", "k1")], ids=["a task", "a cron job"])
def test_docker_comes_up_late(host: TestHost, options: tuple[str, ...]) -> None:
    socket = host.directory / "late.sock"
    late = host.spawn(*RUN, "--config", str(elsewhere(host, f"unix://{socket}")), *options, "echo", "up")
    time.sleep(0.7)
    assert late.running()
    with DaemonBetween(socket):
        assert late.wait(20).expect(0).stdout == "up\n"


@pytest.mark.parametrize(
    ("trouble", "runs"),
    [
        (Trouble(r"POST .*/containers/create"), False),
        (Trouble(r"POST .*/containers/create", done=True), False),
        (Trouble("POST .*/attach"), False),
        (Trouble("POST .*/wait"), False),
        (Trouble("POST .*/start"), False),
        (Trouble("POST .*/start", done=True), True),
    ],
    ids=str,
)
def test_a_daemon_that_answers_500(host: TestHost, trouble: Trouble, runs: bool) -> None:
    socket = host.directory / "between.sock"
    with DaemonBetween(socket) as between:
        between.trouble = (trouble,)
        result = host.conductor(*RUN, "--config", str(elsewhere(host, between.url)), "echo", "it ran")
        if runs:
            assert result.expect(0).stdout == "it ran\n"
        else:
            refused(result, "error: cannot ", "the disk under the daemon is tired")


def test_names(host: TestHost) -> None:
    taken = f"{host.instance}-mine"
    first = host.conductor(*RUN, "--name", taken, "--detach", "sleep", "60", check=True)
    assert first.stdout == f"{taken}\n"
    refused(host.conductor(*RUN, "--name", taken, "true"), f"cannot create container {taken}: ", "already in use")
    assert [(c.name, c.state, c.kind) for c in tasks_of(host)] == [(taken, "running", "task")]
    assert host.history()[-2]["outcome"] == "started"
    discard(host)
    result = host.conductor(*RUN, "--name", taken, "sh", "-c", "exit 4")
    assert (result.code, result.output) == (4, "")
    assert host.history()[-1]["container"] == taken


def test_time_limits(host: TestHost) -> None:
    polite = "trap 'echo stopping; exit 0' TERM; echo started; while :; do sleep 0.05; done"
    results = at_once(
        host,
        (*RUN, "--timeout", "1s", "sh", "-c", polite),
        (*RUN, "--timeout", "1s", "sh", "-c", DEAF),
        (*RUN, "--timeout", "30s", "sh", "-c", "exit 6"),
    )
    assert [r.code for r in results] == [124, 124, 6]
    assert results[0].stdout == "started\nstopping\n"
    assert "did not finish within 1s and was stopped" in results[0].stderr
    assert results[1].seconds > 2  # the grace of 1 s too
    assert {line["outcome"] for line in host.history()[-3:]} == {"timed-out", "done"}


# Streams.


def test_odd_streams(host: TestHost) -> None:
    done = volume(host) / "done"
    for line in (
        '"$@" <&- >/dev/null',
        '"$@" | head -1; exit ${PIPESTATUS[0]}',
        '"$@" >/dev/full',
        '"$@" >&-',
        '"$@" >/dev/null 2>&1 <&-',
    ):
        done.unlink(missing_ok=True)
        words = ("sh", "-c", "seq 20000; echo e >&2; cat; touch /volume/done; exit 9")
        ended = shell(host, line, *RUN, *words, stdin=subprocess.DEVNULL)
        assert (line, ended.returncode) == (line, 9), ended.stderr
        assert done.exists()
        assert ended.stdout == (b"1\n" if "head" in line else b"")
        warned = b"warning: cannot write the task's output: No space left on device; the rest is dropped\n"
        assert sorted(ended.stderr.splitlines(keepends=True)) == sorted(
            [*([] if "2>&1" in line else [b"e\n"]), *([warned] if "full" in line else [])]
        )


def test_non_blocking_streams(host: TestHost) -> None:
    (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
    for end in (theirs_in, theirs_out):
        os.set_blocking(end, False)
    running = host.spawn(*RUN, "-i", "sh", "-c", "cat; seq 100000", stdin=theirs_in, stdout=theirs_out)
    os.close(theirs_in)
    os.close(theirs_out)
    time.sleep(1)  # there is no input yet
    os.write(ours_in, b"late\n")
    os.close(ours_in)
    time.sleep(0.5)  # the pipe is full
    with os.fdopen(ours_out, "rb") as read:
        said = read.read()
    assert running.wait(20).expect(0).stderr == ""
    assert said == b"late\n" + b"".join(b"%d\n" % n for n in range(1, 100001))


def test_lines_through_it_while_they_are_read_slowly(host: TestHost) -> None:
    lines = b"".join(b"line %d of what goes through\n" % n for n in range(10000))
    (host.directory / "lines").write_bytes(lines)
    with (host.directory / "lines").open("rb") as stdin:
        running = host.spawn(*RUN, "-i", "cat", stdin=stdin, stdout=subprocess.PIPE)
        assert running.process.stdout is not None
        said = b""
        while piece := os.read(running.process.stdout.fileno(), 4096):
            said += piece
            time.sleep(0.005)
        running.process.stdout.close()
    running.wait(20).expect(0)
    assert said == lines


def both_ways(host: TestHost, mib: int) -> None:
    """Run `cat` with a writer and a reader that keep only the hash of the data."""
    running = host.spawn(
        "run", "--id", "quiet", "--revision", "r1", "-i", "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    given, taken = hashlib.sha256(), hashlib.sha256()
    piece = b"".join(b"%07d\n" % n for n in range(MIB // 8))
    stdin, stdout = running.process.stdin, running.process.stdout
    assert stdin is not None
    assert stdout is not None

    def write() -> None:
        for n in range(mib):
            data = piece[n:] + piece[:n]
            given.update(data)
            stdin.write(data)
        stdin.close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    count = 0
    while data := stdout.read(65536):
        taken.update(data)
        count += len(data)
    running.wait(20).expect(0)
    stdout.close()
    writer.join(10)
    assert (count, taken.hexdigest()) == (mib * MIB, given.hexdigest())


def test_much_both_ways(host: TestHost) -> None:
    define(host, quiet=definition(host, logging={"driver": "none"}))
    both_ways(host, 100)


# Signals.

HEARS = """
import signal, sys, time
def heard(number, _):
    print(signal.Signals(number).name, flush=True)
for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"):
    signal.signal(getattr(signal, name), heard)
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(5))
print("ready", flush=True)
while True: time.sleep(1)
"""


def started(host: TestHost, *words: str, **popen: Any) -> Spawned:
    """Start a task, and wait until it has printed `ready`."""
    running = host.spawn(*words, **popen)
    host.wait_for(lambda: "ready\n" in running.stdout, "the task")
    return running


def test_signals_reach_it(host: TestHost) -> None:
    running = started(host, *RUN, "python3", "-c", HEARS)
    names = ["SIGTERM", "SIGUSR1", "SIGINT"]
    running.signal(signal.SIGHUP)  # a closed SSH connection does not stop a task
    for n, name in enumerate(names, 2):
        running.signal(getattr(signal, name))
        host.wait_for(lambda n=n: len(running.stdout.splitlines()) == n, name)
    running.signal(signal.SIGUSR2)
    assert running.wait(20).expect(5).stdout.split() == ["ready", *names]


def test_the_third_interrupt_kills_one_that_ignores_them(host: TestHost) -> None:
    running = started(host, *RUN, "python3", "-c", HEARS)
    for n in (2, 3):
        running.signal(signal.SIGINT)
        host.wait_for(lambda n=n: len(running.stdout.splitlines()) == n, "an interrupt")
    running.signal(signal.SIGINT)
    running.wait(20).expect(137)


def test_sigterm_at_any_moment_leaves_nothing(host: TestHost) -> None:
    """Before the task runs, `conductor run` exits with 143. Afterwards the task receives the signal."""
    define(host, tiny=definition(host, init=True))
    running = []
    for n in range(8):
        running.append(host.spawn("run", "--id", "tiny", "--revision", "r1", "sleep", "60"))
        time.sleep(0.02 * n)
    for n, one in enumerate(running):
        time.sleep(0.03 * n)
        one.signal(signal.SIGTERM)

    def ended() -> bool:
        still = [one for one in running if one.running()]
        for one in still:
            one.signal(signal.SIGTERM)  # at first its init has no handler yet
        time.sleep(0.3)
        return not still

    host.wait_for(ended, "their ends", 30)
    assert {one.wait(1).code for one in running} <= {143, -signal.SIGTERM, 137}
    assert left(host) == []


def test_kill_9_leaves_its_labelled_container_and_nothing_else(host: TestHost) -> None:
    running = started(host, *RUN, "python3", "-c", WAITS)
    running.kill()
    (task,) = tasks_of(host, kind="task", service="web", revision="r1", instance=host.instance)
    assert task.state == "running"
    assert processes(host) == []
    discard(host)


# Secrets.


def test_secrets_are_shown_nowhere(host: TestHost) -> None:
    said = f'echo "$TOKEN"; echo "it is $TOKEN!" >&2; echo ready; {UNTIL_GO}'
    (volume(host) / "go").unlink(missing_ok=True)
    running = started(host, *RUN, "--job", "shows", "-e", f"ALSO={SECRET[::-1]}", "sh", "-c", said)
    command_lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # the process has exited
            command_lines.append(path.read_bytes())
    (task,) = tasks_of(host)
    (volume(host) / "go").touch()
    ended = running.wait(20).expect(0)
    assert sorted(ended.output.split("\n")) == sorted([SECRET, f"it is {SECRET}!", "ready", ""])
    assert not any(SECRET.encode() in line for line in command_lines)
    assert SECRET not in json.dumps(task.labels)
    for path in (host.state_dir, host.runtime_dir):
        for file in path.rglob("*"):
            assert file.is_dir() or SECRET.encode() not in file.read_bytes(), file
    assert sorted(job(host, "shows")["output"].splitlines()) == ["[secret]", "it is [secret]!", "ready"]
    assert SECRET[::-1] not in (host.state_dir / "history.jsonl").read_text()


def test_the_kept_output_does_not_begin_with_the_end_of_a_secret(host: TestHost) -> None:
    """16 KiB are kept. When they begin inside a secret, the rest of that secret is removed too."""
    shows = "import os; t = os.environ['TOKEN']; print('x' * 5 + t + 'y' * (16384 - {0} - 1))"
    pieces = (4, len(SECRET) - 2)
    host_results = at_once(host, *((*RUN, "--job", f"cut{n}", "python3", "-c", shows.format(n)) for n in pieces))
    assert [r.code for r in host_results] == [0, 0]
    for n in pieces:
        output = job(host, f"cut{n}")["output"]
        assert set(output) == {"y", "\n"}, output[:40]
        assert len(output) == 16384 - n


# Cron jobs.


def cron_run(host: TestHost, overlap: str, *words: str) -> tuple[str, ...]:
    return ("run", "--id", f"{overlap}s", "--revision", "r1", "--job", "k1", *words)


def test_the_result_of_a_job(host: TestHost) -> None:
    words = "seq 100000; sleep 1; echo oops >&2; exit 3"  # only time orders the two streams
    host.conductor(*RUN, "--job", "nightly-1", "sh", "-c", words).expect(3)
    result = job(host, "nightly-1")
    assert (result["service"], result["job"], result["revision"]) == ("web", "nightly-1", "r1")
    assert (result["exit_code"], result["skipped"]) == (3, 0)
    assert result["seconds"] >= 0
    assert result["output"].endswith("\n100000\noops\n")
    assert len(result["output"]) <= 16384
    assert host.history()[-1]["action"] == "cron"
    host.conductor(*RUN, "--job", "nightly-1", "nosuch").expect(127)
    result = job(host, "nightly-1")
    assert (result["exit_code"], result["seconds"]) == (127, None)
    assert "executable file not found" in result["output"]


def test_the_time_limit_of_a_job_is_in_its_definition(host: TestHost) -> None:
    limited = definition(host, cron={"generate": ["true"], "timeout": "1s"})
    define(host, limited=limited)
    host.conductor("run", "--id", "limited", "--revision", "r1", "--job", "k", "sh", "-c", DEAF).expect(124)
    assert job(host, "k", "limited")["exit_code"] == 124


def test_a_job_that_skips_beside_another_run(host: TestHost) -> None:
    first = started(host, *cron_run(host, "skip", "python3", "-c", WAITS))
    second = host.conductor(*cron_run(host, "skip", "echo", "twice"), check=True)
    assert second.output == ""
    assert (job(host, "k1", "skips")["skipped"], job(host, "k1", "skips")["exit_code"]) == (1, None)
    first.kill()
    (orphan,) = tasks_of(host, job="k1", kind="cron")
    assert host.conductor(*cron_run(host, "skip", "echo", "twice"), check=True).output == ""
    assert job(host, "k1", "skips")["skipped"] == 2
    # Another job of the service, and this job of another service, run beside it.
    others = at_once(
        host,
        ("run", "--id", "skips", "--revision", "r1", "--job", "k2", "echo", "other"),
        ("run", "--id", "allows", "--revision", "r1", "--job", "k1", "echo", "other"),
    )
    assert [r.stdout for r in others] == ["other\n", "other\n"]
    host.daemon.api.remove_container(orphan.id, force=True)
    assert host.conductor(*cron_run(host, "skip", "echo", "free"), check=True).stdout == "free\n"
    assert (job(host, "k1", "skips")["skipped"], job(host, "k1", "skips")["exit_code"]) == (0, 0)


def test_a_job_that_queues(host: TestHost) -> None:
    until_go = f"echo ready; {UNTIL_GO}; date +%s%N"
    (volume(host) / "go").unlink(missing_ok=True)
    first = started(host, *cron_run(host, "queue", "sh", "-c", until_go))
    second = host.spawn(*cron_run(host, "queue", "sh", "-c", "date +%s%N"))
    host.wait_for(lambda: holds(host, "queues.k1.next"), "a second run in the queue")
    third = host.conductor(*cron_run(host, "queue", "echo", "third"), check=True)
    assert third.output == ""
    assert job(host, "k1", "queues")["skipped"] == 1
    assert second.running()
    (volume(host) / "go").touch()
    ends = [int(one.wait(30).expect(0).stdout.split()[-1]) for one in (first, second)]
    assert ends == sorted(ends)
    assert job(host, "k1", "queues")["exit_code"] == 0
    assert len(tasks_of(host)) == 0


def test_a_job_that_queues_behind_a_container_whose_run_was_killed(host: TestHost) -> None:
    first = started(host, *cron_run(host, "queue", "python3", "-c", WAITS))
    first.kill()
    second = host.spawn(*cron_run(host, "queue", "echo", "second"))
    host.wait_for(lambda: holds(host, "queues.k1"), "its wait")
    time.sleep(0.3)
    assert second.running()
    assert second.stdout == ""
    discard(host)
    assert second.wait(20).expect(0).stdout == "second\n"


def test_a_job_past_its_deadline_gets_the_stop_signal_before_the_next_run(host: TestHost) -> None:
    """Its `conductor run` was killed before the timeout. The deadline is 1 s, the grace, after that."""
    (volume(host) / "stopped").unlink(missing_ok=True)
    stops = "trap 'touch /volume/stopped; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    words = cron_run(host, "queue", "sh", "-c", stops)
    first = started(host, "run", "--timeout", "5s", *words[1:])
    first.kill()
    host.conductor(*cron_run(host, "queue", "sh", "-c", "ls /volume/stopped"), check=True)
    assert len(tasks_of(host)) == 0


def test_one_that_waits_in_the_queue_can_be_stopped(host: TestHost) -> None:
    first = started(host, *cron_run(host, "queue", "python3", "-c", HEARS))
    second = host.spawn(*cron_run(host, "queue", "echo", "second"))
    host.wait_for(lambda: holds(host, "queues.k1.next"), "a second run in the queue")
    second.signal(signal.SIGTERM)
    second.wait(10).expect(143)
    for n in (2, 3):
        first.signal(signal.SIGTERM)
        host.wait_for(lambda n=n: len(first.stdout.splitlines()) == n, "a signal")
    first.signal(signal.SIGTERM)
    first.wait(20).expect(137)


def test_a_job_that_is_allowed_beside_itself(host: TestHost) -> None:
    words = cron_run(
        host, "allow", "sh", "-c", "echo x >>/volume/both; while [ $(wc -l </volume/both) -lt 2 ]; do sleep 0.05; done"
    )
    (volume(host) / "both").unlink(missing_ok=True)
    assert [r.code for r in at_once(host, words, words)] == [0, 0]
    assert (job(host, "k1", "allows")["skipped"], job(host, "k1", "allows")["exit_code"]) == (0, 0)


def holds(host: TestHost, lock: str) -> bool:
    """Return whether a process holds the lock."""
    path = host.runtime_dir / "locks" / f"{lock}.lock"
    return path.exists() and subprocess.run(["flock", "-n", path, "true"], check=False).returncode != 0


# Beside other things.


def test_an_upgrade_neither_kills_nor_waits_for_tasks(host: TestHost) -> None:
    running = started(host, *RUN, "python3", "-c", HEARS)
    for revision in ("r2", "r1"):
        host.upgrade(revision, check=True)
        assert host.revisions() == [revision]
        assert running.running()
    (task,) = tasks_of(host)
    assert (task.revision, task.state) == ("r1", "running")
    running.signal(signal.SIGUSR2)
    assert running.wait(20).expect(5).stdout == "ready\n"


def test_runs_during_an_upgrade_are_of_one_of_both_revisions(host: TestHost) -> None:
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    said = []
    while upgrade.running():
        said += [r.expect(0).stdout for r in at_once(host, *[(*RUN, "sh", "-c", "echo $REVISION")] * 2)]
    upgrade.wait(30).expect(0)
    assert set(said) <= {"r1\n", "r2\n"}
    host.upgrade("r1", check=True)


# Many.

PRINTS = """
import os, sys, hashlib
line = os.environ["NUMBER"].encode() * 16 + b"\\n"
for stream in (1, 2):
    data = memoryview((line * (2**20 // len(line) + 1))[:2**20])
    while data: data = data[os.write(stream, data):]
sys.exit(int(os.environ["NUMBER"]) % 251)
"""


def in_parallel(count: int) -> None:
    """Run `count` tasks at once. Each prints 1 MiB to both streams, and only hashes are compared."""
    with TestHost() as host:
        wide = host.claims.wide_subnet()
        first, second, third, _ = wide.split(".")
        network = {"subnet": wide, "tasks": f"{first}.{second}.{int(third) + 1}.0/24"}
        host.define({"web": definition(host, count=0)}, host_extra={"network": network})
        host.conductor(*RUN, "--revision", "r1", "true", check=True)
        numbers = [f"{n:04}" for n in range(count)]
        words = [(*RUN, "--revision", "r1", "-e", f"NUMBER={n}", "python3", "-ISc", PRINTS) for n in numbers]
        running = [host.spawn(*one) for one in words]
        for number, one in zip(numbers, running, strict=True):
            code = one.process.wait(600)
            line = number.encode() * 16 + b"\n"
            expected = hashlib.sha256((line * (MIB // len(line) + 1))[:MIB]).hexdigest()
            files = (one.stdout_file, one.stderr_file)
            found = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
            assert (number, code, found) == (number, int(number) % 251, [expected] * 2), files[1].read_text()[:500]
            for path in files:
                path.unlink()
        assert left(host) == []
        assert len(host.history()) == count + 1


def test_20_at_once(images: None) -> None:
    in_parallel(20)


@pytest.mark.long
def test_200_at_once(images: None) -> None:
    in_parallel(200)
