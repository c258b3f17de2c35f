"""The cookbook's templates, rendered by Erubis as in Chef and by ERB, and read by the programs that they are for."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conductor.definitions.load import load
from tests.support.chef_runs import COOKBOOK, RUBY, example_bags, render
from tests.support.commands import ROOT

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
    "supervise_service.conf.erb": {
        "paths": ["/srv/c2", "/srv/n2"],
        "state_dir": "/srv/c2",
        "digest": "0123456789ab",
    },
    "sudoers.erb": {"users": ["deploy", "%ops"]},
    "status.conf.erb": {
        "server": {
            "server_name": "status.example.com",
            "certificate": "/etc/ssl/certs/status.example.com.pem",
            "certificate_key": "/etc/ssl/private/status.example.com.key",
            "user_file": "/etc/nginx/status.htpasswd",
            "metrics_from": ["192.0.2.10"],
        }
    },
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
        ("supervise_service.conf.erb", {"paths": [], "state_dir": None, "digest": "0123456789ab"}),
        ("status.conf.erb", {"server": {**VARIABLES["status.conf.erb"]["server"], "metrics_from": []}}),
    ]
    for (name, _), (erubis, erb) in zip([*VARIABLES.items(), *odd], render(*VARIABLES.items(), *odd), strict=True):
        assert erubis == erb
        assert erubis.endswith("\n"), name
        assert "<%" not in erubis, name
        assert "\n\n" not in erubis, name


def test_supervise_finds_a_moved_state_directory() -> None:
    text = rendered("supervise_service.conf.erb", VARIABLES["supervise_service.conf.erb"])
    assert "\nEnvironment=CONDUCTOR_STATE_DIR=/srv/c2\n" in text
    default = rendered("supervise_service.conf.erb", {"paths": [], "state_dir": None, "digest": "0123456789ab"})
    assert "CONDUCTOR_STATE_DIR" not in default


def test_the_status_page_has_the_server_block_of_the_example() -> None:
    def directives(text: str) -> list[str]:
        return [
            " ".join(line.partition("#")[0].split()) for line in text.splitlines() if line.partition("#")[0].strip()
        ]

    example = (ROOT / "examples" / "nginx" / "status.conf").read_text()
    assert directives(rendered("status.conf.erb", VARIABLES["status.conf.erb"])) == directives(example)
    without = {"server": {**VARIABLES["status.conf.erb"]["server"], "metrics_from": []}}
    assert "/metrics" not in rendered("status.conf.erb", without)


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
