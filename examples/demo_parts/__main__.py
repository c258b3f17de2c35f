"""The demo's order of events, for a newcomer to watch: deploy, upgrade, refuse, upgrade, count."""

import argparse
import sys
import time
from pathlib import Path

from examples.demo_parts import acts, report
from examples.demo_parts.stage import Stage, StageError
from tests.support.claims import Claims


def main() -> int:
    """Run the demo; 0 only if nothing was lost, revision 3 was refused and the payments agree."""
    wanted = _arguments()
    acts.hear_signals()
    stage = Stage(wanted.directory, wanted.name, wanted.instance)
    try:
        return _demo(stage, clients=wanted.clients, seconds=wanted.seconds)
    except StageError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
    except (OSError, TimeoutError) as error:
        print(f"\ndemo: cannot go on: {error}", file=sys.stderr)
    return 1


def _demo(stage: Stage, *, clients: int, seconds: float) -> int:
    claims = Claims()
    print("  building revisions 1, 2, 3 and 4 of examples/payments, without a registry", end="", flush=True)
    began = time.monotonic()
    stage.build()
    print(f": {time.monotonic() - began:.0f} s", flush=True)
    port = stage.prepare(claims)
    stage.start_nginx(port)
    url = f"http://127.0.0.1:{port}"
    print(f"  started nginx for {url}")

    _title("1. Deploy revision 1: two containers behind nginx.")
    if acts.upgrade(stage, "1") != 0:
        raise StageError("revision 1 could not be deployed; see above")
    claims.release()

    busy, idle = clients - clients // 2, clients // 2
    _title(
        f"2. Upgrade to revision 2 while {busy + idle} clients POST payments: {busy} as fast as they can, {idle} every",
        f"   {acts.IDLE_SECONDS:g} s, over keep-alive connections and without retries. The app makes it hard: told to stop,",
        "   it is gone at once, whatever it is doing.",
    )
    done = [acts.upgrade_under_load(stage, "2", url, clients=clients, seconds=seconds)]
    _title("3. Try revision 3, whose health check answers 500. It should be refused, and 2 should serve on.")
    done.append(acts.upgrade_under_load(stage, "3", url, clients=clients, seconds=seconds))
    _title("4. Upgrade to revision 4.")
    done.append(acts.upgrade_under_load(stage, "4", url, clients=clients, seconds=seconds))

    _title("What Conductor's steps took, in seconds, and what the clients saw:")
    print(f"\n{report.table(done)}\n")
    verdict = report.verdict(done, acts.read_books(stage, url))
    for held, sentence in verdict:
        print(f"  {'ok    ' if held else 'FAILED'}  {sentence}")
    _play(stage, url)
    return 0 if all(held for held, _ in verdict) else 1


def _title(*lines: str) -> None:
    print("\n" + "\n".join(lines), flush=True)


def _play(stage: Stage, url: str) -> None:
    print(
        f"\nRevision 4 runs on. Try:\n"
        f"  curl -i {url}/stats\n"
        f"  curl -i -H 'Idempotency-Key: mine-1' -d '{acts.PAYMENT}' {url}/payments\n"
        f"  {stage.conductor} service status\n"
        f"  {stage.conductor} service upgrade --id payments --revision 1",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo_parts", description="Called by examples/demo.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--clients", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
