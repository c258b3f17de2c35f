"""The demo's results: a table of measurements, and whether each expectation was met."""

from collections.abc import Sequence

from examples.demo_parts.upgrades import Reconciliation, Upgrade

STEPS = ("start", "gate", "cutover", "commit", "drain", "retire")
BROKEN = "r3"


def table(upgrades: Sequence[Upgrade]) -> str:
    """Return a row per upgrade: seconds of each finished step and of the command, and the clients' results."""
    header = ("upgrade", *STEPS, "command", "requests", "lost", "slowest", "responses by revision")
    rows = [header, *(_row(one) for one in upgrades)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    left = {0, len(header) - 1}
    return "\n".join(
        "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(upgrade: Upgrade) -> tuple[str, ...]:
    steps = {step: f"{seconds:.2f}" for step, seconds in upgrade.history.get("steps", {}).items()}
    if upgrade.exit_code:
        steps |= {next((step for step in STEPS if step not in steps), STEPS[-1]): "failed"}
    revisions = sorted(upgrade.load.revisions.items(), key=lambda named: named[1].first)
    return (
        f"{upgrade.before} → {upgrade.revision}" + (" rolled back" if upgrade.exit_code else ""),
        *(steps.get(step, "-") for step in STEPS),
        f"{upgrade.seconds:.1f}",
        f"{upgrade.load.total:,}",
        f"{upgrade.load.lost:,}",
        f"{upgrade.load.slowest * 1000:.0f} ms",
        ", ".join(f"{name}: {responses.count:,}" for name, responses in revisions),
    )


def results(upgrades: Sequence[Upgrade], payments: Reconciliation) -> list[tuple[bool, str]]:
    """Return for each expectation whether it was met, and a sentence with figures."""
    return [
        _lost_requests(upgrades),
        *(_rolled_back(one) if one.revision == BROKEN else _upgraded(one) for one in upgrades),
        _reconciled(payments),
    ]


def _lost_requests(upgrades: Sequence[Upgrade]) -> tuple[bool, str]:
    total, lost = sum(one.load.total for one in upgrades), sum(one.load.lost for one in upgrades)
    kinds = [f"{count:,} {kind}" for one in upgrades for kind, count in one.load.losses.items()]
    return lost == 0, f"{lost:,} of {total:,} requests lost" + (f" ({', '.join(kinds)})" if kinds else "")


def _upgraded(upgrade: Upgrade) -> tuple[bool, str]:
    revisions = set(upgrade.load.revisions)
    passed = upgrade.exit_code == 0 and revisions == {upgrade.before, upgrade.revision}
    return (
        passed,
        f"revision {upgrade.revision}: exit code {upgrade.exit_code}; responses came from {_names(revisions)}",
    )


def _rolled_back(upgrade: Upgrade) -> tuple[bool, str]:
    revisions = set(upgrade.load.revisions)
    passed = upgrade.exit_code == 1 and revisions == {upgrade.before}
    outcome = "rolled back, " if upgrade.exit_code else ""
    return (
        passed,
        f"revision {upgrade.revision}: {outcome}exit code {upgrade.exit_code}; responses came from {_names(revisions)}",
    )


def _names(revisions: set[str]) -> str:
    return f"revision{'s' * (len(revisions) > 1)} {' and '.join(sorted(revisions))}" if revisions else "no revision"


def _reconciled(payments: Reconciliation) -> tuple[bool, str]:
    faults = [
        f"{count:,} {description}"
        for count, description in (
            (payments.missing, "acknowledged but not stored"),
            (payments.duplicated, "stored more than once"),
            (payments.unacknowledged, "stored but not acknowledged"),
        )
        if count
    ]
    totals = f"{payments.acknowledged:,} payments acknowledged, {payments.stored:,} stored"
    return payments.matches, ", ".join([totals, *(faults or ["each exactly once"])])
