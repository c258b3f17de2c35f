"""Coverage-guided fuzzing: each target begins with valid inputs, and runs for a while. Only clean errors end a read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.unit.runtime.docker.test_malformed import RESPONSES
from tests.unit.test_hostile_text import SAMPLE

SECONDS = int(os.environ.get("CONDUCTOR_FUZZ_SECONDS", "30"))  # for each target
EXAMPLE = ROOT / "conductor" / "templates" / "services.example.yml"
CRONTAB = "MAILTO=ops@example.com\n*/5 * * * 1-5  bin/rails runner 'x' # y\n@daily cat%a\\%b\n30 4 1,15 jan sun /bin/bash -l -c 'cd /app && x'\n"
NGINX = (
    "# configuration file /etc/nginx/nginx.conf:\nhttp { include conductor.d/*.conf; server { listen 80; server_name a; "
    "location / { proxy_pass http://web$request_uri; } } access_by_lua_block { x = [[ } ]] } }\n"
)
CORPUS: dict[str, list[str]] = {
    "definitions": [SAMPLE, EXAMPLE.read_text(), '{"version": 1, "services": {"a": {"image": "x", "count": 0}}}'],
    "crontab": [CRONTAB],
    "env-file": ["A=1\nDB_URL=postgres://u:p@h/d\n# x\nexport B=2\n"],
    "state": ['{"version":1,"service":"web","release":null,"kept":[]}', '{"version":1,"service":"web","change":"c1"}'],
    "nginx": [NGINX],
    "docker": [json.dumps(one) for one in RESPONSES.values()],
}


@pytest.mark.long
@pytest.mark.parametrize("target", CORPUS)
def test_a_target(tmp_path: Path, target: str) -> None:
    pytest.importorskip("atheris", reason="atheris has no package for this platform")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, text in enumerate(CORPUS[target]):
        (corpus / str(number)).write_text(text)
    options = [
        f"-max_total_time={SECONDS}",
        "-max_len=20000",
        "-timeout=20",
        "-rss_limit_mb=2000",
        f"-artifact_prefix={tmp_path}/",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fuzz", target, *options, str(corpus)], check=False, cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    ran = re.search(r"Done (\d+) runs", done.stderr)
    assert ran, done.stderr[-2000:]
    print(f"{target}: {ran[1]} inputs, {len(list(corpus.iterdir()))} that reach new code")
    assert len(list(corpus.iterdir())) > len(CORPUS[target])
