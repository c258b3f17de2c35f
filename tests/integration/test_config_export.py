"""What `config export` writes, read by Debian's Docker Compose and by the generator of Podman 5 (Debian 13)."""

import json
import os
import shlex
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from conductor.definitions.load import restore
from conductor.export import compose, quadlet
from conductor.export.export import Source
from tests.support.claims import Claims
from tests.support.images import APP
from tests.support.private_podman import ensure_podman

SECRET = "se$cret %h"
ODD = "a $HOME ${HOME} $(HOME) %h 'b' \"c\"\\"
GENERATOR = "/usr/lib/systemd/system-generators/podman-system-generator"
ANSWER_SECONDS = 20.0


def service(port: int = 21000, **keys: Any) -> dict[str, Any]:
    return {
        "image": APP, "count": 2, "port": 8080, "publish": [port, port + 9], "init": True, "memory": "64MiB",
        "health": {"command": ["true"]}, "stop": {"grace": "1s"}, "tmpfs": ["/cache:size=1m"], "hostname": "shop",
        "ulimits": {"nofile": {"soft": 100, "hard": 200}}, "extra_hosts": {"ledger": "192.0.2.1"},
        "env": {"ODD": ODD}, "labels": {"odd": ODD}, **keys,
    }  # fmt: skip


@pytest.fixture
def port(claims: Claims) -> int:
    """The first of ten free ports."""
    return claims.ports(10)[0]


@pytest.fixture
def composed(tmp_path: Path, images: None, port: int) -> list[str]:
    """The words of docker-compose, for a project with one service."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "env").write_text("FROM_FILE=1\n")
    keys = service(port, env={"ODD": ODD, "SECRET": {"file": f"{tmp_path}/secret"}}, env_file=f"{tmp_path}/env")
    [text] = compose.export([Source("web", restore("web", keys).service, "r1")]).files.values()
    (tmp_path / "compose.yml").write_text(text)
    return ["docker-compose", "--file", f"{tmp_path}/compose.yml", "--project-name", f"conductor-test-{os.getpid()}"]


def run(words: list[str], *more: str) -> subprocess.CompletedProcess[str]:
    """Run Compose after the lines that the file names."""
    text = Path(words[2]).read_text()
    first = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# export ")]
    script = "\n".join([*first, shlex.join([*words, *more])])
    return subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)


def test_compose_accepts_the_file(composed: list[str]) -> None:
    done = run(composed, "config")
    assert done.returncode == 0, done.stderr
    [web] = yaml.safe_load(done.stdout)["services"].values()
    read = {name: value.replace("$$", "$") for name, value in web["environment"].items()}
    assert read == {"ODD": ODD, "SECRET": SECRET, "FROM_FILE": "1"}
    without = subprocess.run([*composed, "config"], capture_output=True, text=True, check=False)
    assert without.returncode != 0
    assert "see the top of this file" in without.stderr


@pytest.mark.long
def test_compose_runs_the_file(composed: list[str], port: int) -> None:
    try:
        up = run(composed, "up", "--detach")
        assert up.returncode == 0, up.stderr
        ids = run(composed, "ps", "--quiet").stdout.split()
        assert len(ids) == 2
        assert {answer(port + number) for number in range(2)} == {"r1"}
        for container in ids:
            seen = docker("exec", container, "cat", "/proc/1/environ").split("\0")
            assert {f"ODD={ODD}", f"SECRET={SECRET}", "FROM_FILE=1"} <= set(seen)
            assert docker("inspect", "--format", '{{index .Config.Labels "odd"}}', container).strip() == ODD
    finally:
        down = run(composed, "down", "--volumes", "--timeout", "1")
    assert down.returncode == 0, down.stderr


def answer(port: int) -> str:
    """The revision that answers, once it does."""
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as response:
                return str(json.load(response)["revision"])
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def test_podmans_generator_accepts_the_units(tmp_path: Path, images: None) -> None:
    """One service for each replica, and nothing is lost on the way to the call of podman."""
    keys = service(
        image="registry.example.com/shop", command=["sh", "-c", ODD, "two\nlines"], entrypoint=["/usr/bin/env", ODD],
        volumes=["/srv/a:/a:ro,rslave", {"type": "bind", "source": "/b,c", "target": "/b", "read_only": True}],
        networks=["monitoring", {"name": "db", "aliases": ["shop"]}], sysctls={"net.ipv4.ping_group_range": "0 1000"},
        env={"ODD": ODD, "SECRET": {"file": "/secret"}},
    )  # fmt: skip
    root = tmp_path / "root"
    (root / "units").mkdir(parents=True)
    files = quadlet.export([Source("web", restore("web", keys).service, "r1")]).files
    subprocess.run(["tar", "-C", root, "-xf", ensure_podman()], check=True)
    for name, text in files.items():
        (root / "units" / name).write_text(text)
    words = ["chroot", root, "env", "QUADLET_UNIT_DIRS=/units", GENERATOR, "--dryrun"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    subprocess.run(["rm", "-rf", root], check=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "Loading" not in line] == []
    starts = [line.removeprefix("ExecStart=") for line in done.stdout.splitlines() if line.startswith("ExecStart=")]
    assert len(starts) == len(files) == 2
    for start in starts:
        call = shlex.split(start.replace("\\n", "\n"))
        plain = [word.replace("$$", "$").replace("%%", "%") for word in call]
        assert plain[-4:] == ["sh", "-c", ODD, "two\nlines"]
        assert {f"ODD={ODD}", f"odd={ODD}", "net.ipv4.ping_group_range=0 1000", "/b,c:/b:ro", "db:alias=shop"} <= set(
            plain
        )
        assert "web-SECRET,type=env,target=SECRET" in plain
