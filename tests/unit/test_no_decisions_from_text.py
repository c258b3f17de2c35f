"""Nothing is decided from message text: not in the program, and not in the examples and the cookbook."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.text_decisions import Finding, in_python, in_ruby, in_shell

ROOT = Path(__file__).parents[2]
# Functions that may compare or search text, each with the reason.
ALLOWED = {
    "conductor/logs/follow.py:Follower._warn_once": "skips a warning that was printed before",
    "conductor/logs/printed.py:LogPrinter.print": "searches for the operator's own pattern, --grep",
    "conductor/supervise/log.py:SupervisorLog.warned": "skips a warning that equals the one before",
    "conductor/traffic/live/module.py:explained": "nginx describes a failure only as text",
    "conductor/traffic/nginx.py:Nginx.check": "nginx, unshare and mount describe a failure only as text",
    "conductor/traffic/nginx.py:Nginx._binary": "nginx -V prints its version and build options as text",
}
RUBY = {".rb", ".rake", ".erb"}
NO_SCRIPTS = {".md", ".json", ".conf", ".j2"}


def python_files() -> Iterator[Path]:
    for path in files("conductor", "examples", "chef_templates"):
        if path.suffix == ".py" or (not path.suffix and first_line(path).endswith("python3")):
            yield path


def ruby_files() -> Iterator[Path]:
    return (path for path in files("examples", "chef_templates") if path.suffix in RUBY or path.name == "Capfile")


def shell_files() -> Iterator[Path]:
    """Every other script, and files that contain commands: of CI, systemd, Packer."""
    others = {*python_files(), *ruby_files()}
    return (
        path for path in files("examples", "chef_templates") if path not in others and path.suffix not in NO_SCRIPTS
    )


def files(*directories: str) -> Iterator[Path]:
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and not path.is_symlink():
                yield path


def first_line(path: Path) -> str:
    return path.read_text(errors="replace").partition("\n")[0]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def found() -> list[Finding]:
    scans = ((python_files(), in_python), (ruby_files(), in_ruby), (shell_files(), in_shell))
    return [
        finding
        for paths, scan in scans
        for path in paths
        for finding in scan(path.read_text(errors="replace"), relative(path))
    ]


def test_nothing_is_decided_from_text() -> None:
    findings = [str(finding) for finding in found() if finding.place not in ALLOWED]
    assert findings == [], "decide from a type, an exit code or JSON instead"


def test_every_allowed_function_still_reads_text() -> None:
    assert sorted(set(ALLOWED) - {finding.place for finding in found()}) == []


def test_all_kinds_of_files_are_scanned() -> None:
    assert {"conductor/cli.py", "examples/demo_parts/report.py"} <= {relative(one) for one in python_files()}
    assert "examples/capistrano/lib/capistrano/tasks/conductor.rake" in {relative(one) for one in ruby_files()}
    assert {"examples/demo", "examples/ci/deploy", "examples/ci/gitlab-ci.yml"} <= {
        relative(one) for one in shell_files()
    }


@pytest.mark.parametrize(
    "line",
    [
        'if error.sentence == "cannot lock web": pass',
        'if "already" in event.text: pass',
        'if "x" in error.details: pass',
        'if error.sentence.startswith("cannot lock"): pass',
        'if row["text"].endswith("x"): pass',
        'if row.get("error") == "x": pass',
        'if summary in {"damaged", "missing"}: pass',
        "if finished.text in KNOWN: pass",
        'if outcome == "done": pass',
        'if change.reason != "drift": pass',
        'if entry.outcome in {"done", "recovered"}: pass',
        're.search("cannot", error.hint)',
        "PATTERN.fullmatch(message)",
        'if error.sentence.lower().find("lock") >= 0: pass',
        'message_of = error.sentence\nif "lock" in message_of: pass',
        'said = ""\nsaid += run().stderr\nif "; nothing to do" in said: pass',
        'lines = result.stdout.splitlines()\nif "x" in lines: pass',
        'for one in error.details:\n    if "x" in one: pass',
        'found = [one for one in error.details if one.startswith("x")]',
        'try: pass\nexcept OSError as error:\n    if "full" in str(error): pass',
        'try: pass\nexcept OSError as error:\n    text = f"{error.strerror}"\n    if "full" in text: pass',
        'def f(problem: ConductorError):\n    return "x" in str(problem)',
        'if note.describe() == "ok": pass',
        'match error.sentence:\n    case "cannot x": pass',
        'if (text := error.sentence) and "x" in text: pass',
    ],
)
def test_decisions_in_python(line: str) -> None:
    assert len(in_python(line, "x.py")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "print(error.sentence)",
        'if error.hint: print(f"{error.sentence}; {error.hint}")',
        'if error.hint == "": pass',
        "if error.error is None: pass",
        "if entry.outcome is Outcome.DONE: pass",
        "if entry.outcome == Outcome.DONE: pass",
        "if entry.outcome in {Outcome.DONE, Outcome.RECOVERED}: pass",
        "if outcome in FINISHED: pass",
        'if row["condition"] == "ok": pass',
        "if error.errno == errno.EPIPE: pass",
        'if text.startswith("#"): pass',
        "data = json.loads(done.stdout)\nif data['event'] == 'finished': pass",
        'text = error.sentence\ntext = path.read_text()\nif "x" in text: pass',
        "match error:\n    case ConductorError(): pass",
    ],
)
def test_other_python_is_no_decision(line: str) -> None:
    assert in_python(line, "x.py") == []


def test_a_finding_names_its_place() -> None:
    source = 'class A:\n    def f(self):\n        return "x" in self.error.sentence\n'
    (finding,) = in_python(source, "x.py")
    assert finding == Finding("x.py:A.f", 3, 'return "x" in self.error.sentence')


@pytest.mark.parametrize(
    "script",
    [
        "conductor service status --id web | grep -q ok",
        "sudo -n /usr/local/bin/conductor service upgrade --id web --revision $r 2>&1 | grep 'nothing to do'",
        "if ssh host conductor service upgrade --id web \\\n  2>&1 | grep -q done; then :; fi",
        "out=$(conductor service status)\necho hello\nif [[ $out =~ missing ]]; then :; fi",
        'out="$(conductor service status)"\ncase "${out}" in *ok*) ;; esac',
        'if [ "$(conductor service status --id web)" = ok ]; then :; fi',
        "case $(conductor service list) in *ok*) ;; esac",
        "conductor service upgrade --id web --revision r2 2>$log\ngrep -q 'nothing to do' $log",
        "conductor service status > /tmp/status\nawk '/missing/' /tmp/status",
    ],
)
def test_decisions_in_shell(script: str) -> None:
    assert len(in_shell(script, "x")) == 1


@pytest.mark.parametrize(
    "script",
    [
        "conductor service upgrade --id web --revision $r || code=$?\nif [ $code -ne 0 ]; then exit $code; fi",
        "conductor service status --json | jq -e '.services[] | select(.condition != \"ok\")'",
        "state=$(conductor service status --json | jq -r .services[0].condition)\n[ $state = ok ]",
        "ps aux | grep -q nginx",
        "if ! [[ $revision =~ ^[0-9a-f]{40}$ ]]; then exit 2; fi",
        "# conductor service status | grep ok",
        "conductor config check >/dev/null\ngrep -q x /dev/null",
    ],
)
def test_other_shell_is_no_decision(script: str) -> None:
    assert in_shell(script, "x") == []


@pytest.mark.parametrize(
    "line",
    [
        'unchanged << host if said.text.include?("; nothing to do")',
        "raise x if result.stderr =~ /cannot lock/",
        "raise x if /cannot lock/ =~ result.stderr",
        'if output.start_with?("error")',
        "retry if error.message.match?(/busy/)",
        'done if event["text"] == "web is running r2"',
        "case shell_out(command).stdout",
        'if capture(*command).include?("done")',
        "if PATTERN.match?(result.stdout)",
    ],
)
def test_decisions_in_ruby(line: str) -> None:
    assert len(in_ruby(line, "x.rb")) == 1


@pytest.mark.parametrize(
    "line",
    [
        "revision.match?(/\\A[0-9a-f]{40}\\z/)",
        'value.include?("\\0")',
        "result = JSON.parse(output.lines.last)",
        'raise result.fetch("error") unless result["exit_code"].zero?',
        'results.all? { |service| service["changed"] }',
        "abort error.message",
        "# said.text.include?(x)",
    ],
)
def test_other_ruby_is_no_decision(line: str) -> None:
    assert in_ruby(line, "x.rb") == []
