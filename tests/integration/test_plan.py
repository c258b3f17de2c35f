"""`upgrade --plan`: the steps, the image to pull, and the differences, as the upgrade makes them; nothing is changed."""

import json

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.images import APP


def test_what_would_differ(web: TestHost) -> None:
    web.define({"web": merged(QUICK, {"count": 2, "env": {"COLOUR": "red"}, "nginx": {"drain": "9s"}})})
    before = (web.history(), web.containers(), (web.nginx.include_dir / "web.conf").read_text())
    (old,) = web.containers("web")
    told = web.upgrade("r2", "web", "--plan", check=True).stderr
    assert (web.history(), web.containers(), (web.nginx.include_dir / "web.conf").read_text()) == before
    nothing_left_behind(web, "r1")
    assert "   start  start 2 replicas of web r2 (live: r1)\n" in told
    changed = [line for line in told.splitlines() if line[:1] in {"+", "-"} and line[:3] not in {"+++", "---"}]
    for line in (
        '+    "COLOUR": "red",',
        '-  "count": 1,',
        '+  "count": 2,',
        '-    "drain": "8s",',
        '+    "drain": "9s",',
    ):
        assert line in changed, told
    upstream = [line.split()[:3] for line in changed if " server " in line]
    assert upstream == [
        ["-", "server", f"{old.address}:8080"],
        ["+", "server", "new-1:8080"],
        ["+", "server", "new-2:8080"],
    ]
    walked = web.upgrade("r2", check=True).stderr
    steps = told.partition("\n---")[0]  # before the differences
    planned = [line.split()[0] for line in steps.splitlines() if line.startswith("  ") and "  " in line.strip()]
    assert [w.split()[0] for w in walked.splitlines() if w.startswith("  ") and "done in" in w] == planned


def test_a_first_upgrade_and_an_image_that_would_be_pulled(host: TestHost) -> None:
    host.define({"web": merged(QUICK, {"env": {"TOKEN": {"file": str(host.directory / "token")}}})})
    (host.directory / "token").write_text("t0ken-that-nobody-sees\n")
    lines = host.upgrade("none-such", "web", "--plan", "--json", check=True).stdout.splitlines()
    told = [event.get("text", "") for event in map(json.loads, lines)]
    assert f"    pull  pull {APP}:none-such" in told
    assert "+++ definition of web (new)" in told
    assert '+      "file": ' + json.dumps(str(host.directory / "token")) in told
    assert not [text for text in told if "t0ken" in text]
    assert host.containers() == []
    assert not host.state_dir.exists()
