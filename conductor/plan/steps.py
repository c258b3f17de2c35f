"""The steps of a change, decided before anything is done (pure): `--plan` prints the very list that is walked."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from conductor.definitions.model import Definition, Nginx
from conductor.plan import gate
from conductor.plan.moves import Move

StepName = Literal[
    "generate", "hook", "start", "gate", "swap", "cutover", "commit", "drain", "retire", "crontab", "record"
]


class Step(msgspec.Struct, frozen=True):
    """One step and why: `text` says both, for all services that it concerns."""

    name: StepName
    text: str


def steps(moves: Sequence[Move]) -> tuple[Step, ...]:
    """The steps of several moves as one change: everything new is healthy before any traffic moves."""
    texts: dict[StepName, list[str]] = {
        "generate": [f"print the crontab of {_to(m)}: {' '.join(m.generate)}" for m in moves if m.generate],
        "hook": [f"run {' '.join(m.hook.command)} of {_to(m)}" for m in moves if m.hook],
        "start": [_start(m) for m in moves if m.added and not swaps(m)],
        "gate": [f"{m.definition.id}, each: {_gate(m)}" for m in moves if m.added and not swaps(m)],
        "swap": [f"stop {m.definition.id} {_from(m)}, then {_start(m)}, each: {_gate(m)}" for m in moves if swaps(m)],
        "cutover": [_cutover(m) for m in moves if m.through_nginx],
        "commit": [_commit(m) for m in moves],
        "drain": [
            f"let old containers of {m.definition.id} finish, at most {drain_seconds(m.definition):g}s"
            for m in moves
            if m.gone and m.through_nginx
        ],
        "retire": [
            f"stop and remove {_number(len(m.gone), 'old container')} of {m.definition.id}" for m in moves if m.gone
        ],
        "crontab": [_crontab(m) for m in moves if m.installs_crontab],
        "record": ["write the history"],
    }
    return tuple(Step(name, "; ".join(said)) for name, said in texts.items() if said)


def drain_seconds(definition: Definition) -> float:
    """How long old containers may finish; a service that has left nginx has the built-in time."""
    return (definition.service.nginx or Nginx()).drain


def swaps(move: Move) -> bool:
    """Whether old containers must be gone before new ones start: when either of the two releases says so."""
    before = move.old.release.definition.get("order") if move.old.release else None
    return "stop-first" in {before, move.definition.service.order} and move.added > 0


def _to(move: Move) -> str:
    revision = move.new.release.revision if move.new.release else "nothing"
    return f"{move.definition.id} {revision}"


def _from(move: Move) -> str:
    return move.old.release.revision if move.old.release else "nothing"


def _start(move: Move) -> str:
    return f"start {move.added} × {_to(move)} (live: {_from(move)})"


def _gate(move: Move) -> str:
    return gate.wording(move.definition.service.health) if move.definition.service.health else "started"


def _cutover(move: Move) -> str:
    if move.count == 0 or not move.definition.service.nginx:
        return f"answer 503 for {move.definition.upstream}"
    return f"send requests for {move.definition.upstream} to {move.count} × {_to(move)}"


def _commit(move: Move) -> str:
    if move.new.stopped and not move.old.stopped:
        return f"{move.definition.id} is stopped from here on"
    return f"{_to(move)}, count {move.count}, from here on"


def _crontab(move: Move) -> str:
    stays = move.definition.service.cron and not move.new.stopped
    return f"{'install' if stays else 'remove'} the crontab of {move.definition.id}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
