"""The demo's end: a table of what was measured, and whether it is what was promised."""

from collections.abc import Sequence

from examples.demo_parts.acts import Act, Books

STEPS = ("start", "gate", "cutover", "commit", "drain", "retire")
BROKEN = "3"


def table(acts: Sequence[Act]) -> str:
    """Per upgrade: seconds of each finished step and of the whole command, and what the clients saw."""
    heads = ("upgrade", *STEPS, "total", "requests", "lost", "slowest", "answered by")
    rows = [heads, *(_row(act) for act in acts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    left = {0, len(heads) - 1}
    return "\n".join(
        "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(act: Act) -> tuple[str, ...]:
    steps = {step: f"{seconds:.2f}" for step, seconds in act.history.get("steps", {}).items()}
    if act.exit_code:
        steps |= {next((step for step in STEPS if step not in steps), STEPS[-1]): "failed"}
    seen = sorted(act.load.revisions.items(), key=lambda named: named[1].first)
    return (
        f"{act.before} → {act.revision}" + (" refused" if act.exit_code else ""),
        *(steps.get(step, "-") for step in STEPS),
        f"{act.seconds:.1f}",
        f"{act.load.total:,}",
        f"{act.load.lost:,}",
        f"{act.load.slowest * 1000:.0f} ms",
        ", ".join(f"{name}: {answers.count:,}" for name, answers in seen),
    )


def verdict(acts: Sequence[Act], books: Books) -> list[tuple[bool, str]]:
    """Each promise: whether it held, and the sentence with its figures."""
    return [
        _lost(acts),
        *(_refused(act) if act.revision == BROKEN else _moved(act) for act in acts),
        _agreed(books),
    ]


def _lost(acts: Sequence[Act]) -> tuple[bool, str]:
    total, lost = sum(act.load.total for act in acts), sum(act.load.lost for act in acts)
    kinds = [f"{count:,} {kind}" for act in acts for kind, count in act.load.losses.items()]
    return lost == 0, f"{lost:,} of {total:,} requests lost" + (f" ({', '.join(kinds)})" if kinds else "")


def _moved(act: Act) -> tuple[bool, str]:
    seen = set(act.load.revisions)
    held = act.exit_code == 0 and seen == {act.before, act.revision}
    return held, f"revision {act.revision}: exit code {act.exit_code}; answers came from {_names(seen)}"


def _refused(act: Act) -> tuple[bool, str]:
    seen = set(act.load.revisions)
    held = act.exit_code == 1 and seen == {act.before}
    word = "refused, " if act.exit_code else ""
    return held, f"revision {act.revision}: {word}exit code {act.exit_code}; answers came from {_names(seen)}"


def _names(seen: set[str]) -> str:
    return f"revision{'s' * (len(seen) > 1)} {' and '.join(sorted(seen))}" if seen else "nobody"


def _agreed(books: Books) -> tuple[bool, str]:
    faults = [
        f"{count:,} {what}"
        for count, what in (
            (books.missing, "acknowledged but not stored"),
            (books.twice, "stored twice"),
            (books.unasked, "stored but not acknowledged"),
        )
        if count
    ]
    said = f"{books.acknowledged:,} payments acknowledged, {books.stored:,} stored"
    return books.agree, ", ".join([said, *(faults or ["each exactly once"])])
