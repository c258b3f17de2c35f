"""The cookbook's templates, rendered by Erubis as in Chef and by ERB, and read by the programs that they are for."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from conductor.definitions.load import load
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import History
from tests.support.chef_runs import COOKBOOK, RUBY, example_bags, render

# Values that YAML, Ruby, ERB, a shell or Python's formatting could change.
NASTY = [
    "on", "No", "~", "null", "0123456", "12e4567", "1e3", "0x1F", "12:30", "1_000", "-", "?", ".inf", "=", "<<", "",
    " ", " leading", "trailing ", "# x", "a # b", "a: b", "- a", "[a]", "{a: b}", "*a", "&a", "!a", "%x", "@a", "`a`",
    "'", '"', '\\"', "\\", "\\n", "one\ntwo\n", "\n", "\ttab", "\r\n", "%{x}", "%s", "100%", "<%= 1 %>", "<%", "%>",
    "-%>", "<%# x %>", "#{1}", "${x}", "$x", "$(x)", "{{ x }}", "größe", "日本語", "🚀", "\u2028", "\u2029", "\x85",
    "\x7f", "\x01", "\ufeff", "\uffff", "---", "...", "x" * 5000, "2026-01-01", "true", "1.0", "0o17",
]  # fmt: skip
EVERY_CHARACTER = [chr(n) for n in range(1, 0x11000) if not 0xD800 <= n < 0xE000] + [chr(0x1FFFF), chr(0x10FFFF)]
VARIABLES: dict[str, dict[str, Any]] = {
    "services.yml.erb": {"definitions": {"version": 1, "services": {}}},
    "nginx_include.conf.erb": {"include_dir": "/etc/nginx/conductor.d"},
    "logrotate.erb": {"state_dir": "/var/lib/conductor"},
    "supervise_service.conf.erb": {"paths": ["/srv/c2", "/srv/n2"], "digest": "0123456789ab"},
    "sudoers.erb": {"users": ["deploy", "%ops"]},
}


def rendered(name: str, variables: Mapping[str, Any]) -> str:
    ((erubis, erb),) = render((name, variables))
    assert erubis == erb
    return erubis


def test_both_engines_render_the_same_text() -> None:
    names = sorted(path.name for path in (COOKBOOK / "templates").iterdir())
    assert names == sorted(VARIABLES)
    odd: list[tuple[str, dict[str, Any]]] = [
        ("sudoers.erb", {"users": []}),
        ("sudoers.erb", {"users": ["a", "b", "c"]}),
        ("supervise_service.conf.erb", {"paths": [], "digest": "0123456789ab"}),
    ]
    for (name, _), (erubis, erb) in zip([*VARIABLES.items(), *odd], render(*VARIABLES.items(), *odd), strict=True):
        assert erubis == erb
        assert erubis.endswith("\n"), name
        assert "<%" not in erubis, name
        assert "\n\n" not in erubis, name


def test_values_are_preserved(tmp_path: Path) -> None:
    chunks = ["".join(EVERY_CHARACTER[at : at + 1000]) for at in range(0, len(EVERY_CHARACTER), 1000)]
    env = {f"V{number}": value for number, value in enumerate([*NASTY, *chunks])}
    service = {
        "image": "registry.example.com/on",
        "count": 0,
        "command": NASTY,
        "env": env | {"on": "y", "GONE": None},
        "labels": {"12e4567": "0123456", "on": "off"},
        "cpus": 1.5,
        "memory": 536870912,
        "init": True,
    }
    text = rendered(
        "services.yml.erb", {"definitions": {"version": 1, "services": {"0123456": service, "on": service}}}
    )
    path = tmp_path / "services.yml"
    path.write_text(text, encoding="utf-8", newline="")
    definitions = load(path)
    assert definitions.problems == ()
    assert definitions.ids == ("0123456", "on")
    found = definitions.services["0123456"].service
    assert found.env == env | {"on": "y"}
    assert found.command == tuple(NASTY)
    assert found.labels == service["labels"]
    assert (found.cpus, found.memory, found.init) == (1.5, 536870912, True)


def test_one_template_is_rendered_from_the_command_line() -> None:
    words = ["ruby", str(RUBY / "render.rb"), "nginx_include.conf.erb", json.dumps({"include_dir": "/srv/n"})]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    assert done.stdout.splitlines()[-1] == "include /srv/n/*.conf;"


def entry(action: Literal["upgrade", "rollback"]) -> HistoryEntry:
    return HistoryEntry(at="2026-11-29T02:00:00.000Z", service="web", action=action, outcome=Outcome.DONE)


def test_logrotate_rotates_the_history_and_the_next_entry_starts_a_new_file(tmp_path: Path) -> None:
    state = tmp_path / "state"
    History(state).append(entry("upgrade"))
    rules = tmp_path / "conductor"
    rules.write_text(rendered("logrotate.erb", {"state_dir": str(state)}))
    rules.chmod(0o644)
    words = ["logrotate", "--force", "--state", str(tmp_path / "status"), str(rules)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in state.iterdir()] == ["history.jsonl.1"]
    History(state).append(entry("rollback"))
    assert json.loads((state / "history.jsonl.1").read_text())["action"] == "upgrade"
    assert json.loads((state / "history.jsonl").read_text())["action"] == "rollback"
    assert (state / "history.jsonl").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_a_template_has_no_secrets_and_statements_start_at_column_0(name: str) -> None:
    text = (COOKBOOK / "templates" / name).read_text()
    secrets = {value for item in example_bags()["conductor_secrets"].values() for value in item.values()}
    assert not any(secret in text for secret in secrets)
    assert not re.search(r"password|(?<!NO)passwd|token|PRIVATE KEY|secret|[A-Za-z0-9+/]{41,}", text, re.IGNORECASE)
    used = set(re.findall(r"@(\w+)", "".join(re.findall(r"<%.*?%>", text))))
    assert used == set(VARIABLES[name])
    for line in text.splitlines():
        if re.search(r"<%(?!=)", line):
            assert re.fullmatch(r"<% .* -%>", line)
