"""How the CPU time of commands grows with the host: services, nginx's files, lines of the history, jobs of a crontab.

The state files are copies of what Conductor has written for one service, and the time for a size of 1 is subtracted.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.benchmarks.figures import Figures
from tests.benchmarks.growth import record_growth
from tests.benchmarks.timing import compiled, cost
from tests.support.host import TestHost

COMMAND = Path(sys.executable).with_name("conductor")
SERVICES, JOBS, LINES = (100, 200, 400, 800), (500, 1000, 2000, 4000), (10_000, 20_000, 40_000, 80_000)
ROUNDS = 3  # the fastest of them is taken
LEAST_SECONDS = 0.001  # that this measures
COMMANDS = ("config check", "service list", "service status", "nginx show", "nginx install")
GENERATE = 'for n in $(seq {jobs}); do echo "$((n % 60)) * * * * echo $n"; done'


def measure(
    figures: Figures,
    host: TestHost,
    commands: Mapping[str, Sequence[str | Path]],
    kind: str,
    sizes: tuple[int, ...],
    make: Callable[[int], None],
) -> None:
    """Measure commands at a size of 1 and at these sizes. `make` prepares a size."""
    seconds: dict[str, dict[int, float]] = {name: {} for name in commands}
    environment = compiled(host.environment())
    rounds = figures.number(ROUNDS, 0)
    for size in (1, *sizes):
        make(size)
        for name, argv in commands.items():
            seconds[name][size] = min(cost(*argv, at_once=1, env=environment).cpu_seconds for _ in range(rounds))
    for name, found in seconds.items():
        record_growth(figures, name, kind, {size: max(LEAST_SECONDS, found[size] - found[1]) for size in sizes})


def ours(*names: str) -> dict[str, list[str | Path]]:
    """Return commands of Conductor by what they are called here."""
    return {name: [COMMAND, *name.split()] for name in names}


def test_by_services(images: None, figures: Figures) -> None:
    with TestHost() as host:
        listen = [f"127.0.0.1:{host.port('web')}"]

        def define(services: int) -> None:
            others = {
                f"s{n}": {"count": 0, "nginx": {"server": {"listen": listen, "names": [f"s{n}.test"]}}}
                for n in range(services)
            }
            host.define(others)

        def make(services: int) -> None:
            define(services)
            for number in range(1, services):
                (states / f"s{number}.json").write_text(json.dumps(first).replace('"s0"', f'"s{number}"'))
            host.conductor("nginx", "install", check=True)

        define(1)
        host.upgrade("r1", "s0", check=True)
        states = host.state_dir / "services"
        nginx = host.nginx
        nginx_test: list[str | Path] = [
            nginx.binary,
            "-t",
            "-q",
            "-e",
            nginx.error_log,
            "-p",
            nginx.directory,
            "-c",
            nginx.config,
        ]
        first = json.loads((states / "s0.json").read_text())
        measure(figures, host, {**ours(*COMMANDS), "nginx -t": nginx_test}, "services", SERVICES, make)


def test_by_lines_of_the_history(images: None, figures: Figures) -> None:
    with TestHost() as host:
        host.define({"web": {"count": 0}})
        host.upgrade("r1", check=True)
        history = host.state_dir / "history.jsonl"
        line = history.read_text()

        def make(lines: int) -> None:
            history.write_text(line * lines)

        measure(figures, host, ours("service history --tail 10"), "lines", LINES, make)


def test_by_jobs(images: None, figures: Figures) -> None:
    with TestHost() as host:

        def make(jobs: int) -> None:
            host.define(
                {"web": {"count": 0, "nginx": None, "cron": {"generate": ["sh", "-c", GENERATE.format(jobs=jobs)]}}}
            )
            host.upgrade("r1", check=True)

        measure(figures, host, ours("cron list"), "jobs", JOBS, make)
