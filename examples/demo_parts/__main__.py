"""The demo's steps: deploy, upgrade, a broken revision, another upgrade, and the results."""

import argparse
import sys
import time
from pathlib import Path

from examples.demo_parts import report, upgrades
from examples.demo_parts.environment import Environment, SetupError
from tests.support.claims import Claims


def main() -> int:
    """Run the demo; return 0 if no request was lost, revision r3 was rolled back, and all payments are stored once."""
    options = _parse_arguments()
    upgrades.exit_on_sigterm()
    environment = Environment(options.directory, options.name, options.instance)
    try:
        return _demo(environment, clients=options.clients, seconds=options.seconds)
    except SetupError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
    except (OSError, TimeoutError) as error:
        print(f"\ndemo: cannot continue: {error}", file=sys.stderr)
    return 1


def _demo(environment: Environment, *, clients: int, seconds: float) -> int:
    claims = Claims()
    print("  building revisions r1, r2, r3 and r4 of examples/payments", end="", flush=True)
    began = time.monotonic()
    environment.build()
    print(f": {time.monotonic() - began:.0f} s", flush=True)
    port = environment.prepare(claims)
    environment.start_nginx(port)
    url = f"http://127.0.0.1:{port}"
    print(f"  started nginx on {url}")

    _title("1. Deploy revision r1: two containers behind nginx.")
    if upgrades.upgrade(environment, "r1") != 0:
        raise SetupError("cannot deploy revision r1: see above")
    claims.release()

    busy, idle = clients - clients // 2, clients // 2
    _title(
        f"2. Upgrade to revision r2 while {clients} clients POST payments over keep-alive connections, without retries:",
        f"   {busy} send one request after another; {idle} pause for {upgrades.IDLE_SECONDS:g} s between requests.",
        "   On SIGTERM, the app exits at once without finishing its requests.",
    )
    done = [upgrades.upgrade_under_load(environment, "r2", url, clients=clients, seconds=seconds)]
    _title("3. Upgrade to revision r3, whose health check returns 500. Conductor should roll back to revision r2.")
    done.append(upgrades.upgrade_under_load(environment, "r3", url, clients=clients, seconds=seconds))
    _title("4. Upgrade to revision r4.")
    done.append(upgrades.upgrade_under_load(environment, "r4", url, clients=clients, seconds=seconds))

    _title("Duration in seconds of each Conductor step and of the whole command, and results of the clients' requests:")
    print(f"\n{report.table(done)}\n")
    results = report.results(done, upgrades.reconcile(environment, url))
    for passed, sentence in results:
        print(f"  {'ok    ' if passed else 'FAILED'}  {sentence}")
    _print_next_steps(environment, url)
    return 0 if all(passed for passed, _ in results) else 1


def _title(*lines: str) -> None:
    print("\n" + "\n".join(lines), flush=True)


def _print_next_steps(environment: Environment, url: str) -> None:
    print(
        f"\nRevision r4 is still running. Try:\n"
        f"  curl -i {url}/stats\n"
        f"  curl -i -H 'Idempotency-Key: mine-1' -d '{upgrades.PAYMENT}' {url}/payments\n"
        f"  {environment.conductor} service status\n"
        f"  {environment.conductor} service upgrade --id payments --revision r1",
        flush=True,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo_parts", description="Called by examples/demo.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--clients", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
