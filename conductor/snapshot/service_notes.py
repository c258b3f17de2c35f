"""The notes on one service: every difference between what is wanted and what is there."""

from collections.abc import Iterator, Sequence

from conductor.change.context import Context
from conductor.definitions.host import Host
from conductor.definitions.load import Definitions
from conductor.definitions.model import Definition
from conductor.plan.release import Wanted
from conductor.plan.replica import Replica
from conductor.plan.route import TrafficState
from conductor.snapshot import notes
from conductor.snapshot.notes import AnyNote
from conductor.snapshot.state_notes import state_notes
from conductor.state.supervisor_status import SUPERVISE_LOCK, ServiceStatus

OVERDUE_SECONDS = 120.0  # `supervise` removes a retiring replica within a minute after its time is over


def service_notes(
    definitions: Definitions,
    context: Context,
    wanted: Wanted,
    *,
    released: Definition | None,
    status: ServiceStatus | None,
    replicas: Sequence[Replica],
    traffic: TrafficState,
    missing: bool,
) -> tuple[AnyNote, ...]:
    """Return all notes on a service.

    `released` is the definition of its live release, `status` what `supervise` published, `traffic` the state of the traffic
    layer (running, if the service needs none), `missing` whether fewer replicas run than are wanted.
    """
    found = tuple(state_notes(definitions, context, wanted, released=released, status=status, replicas=replicas))
    changing = any(isinstance(note, notes.Busy | notes.Interrupted) for note in found)
    return (
        *found,
        *(() if changing else _other_notes(definitions, context, wanted, replicas)),
        *_traffic_notes(traffic),
        *_supervise_notes(context, wanted, missing=missing),
        *_image_notes(context, wanted, replicas),
    )


def repair_command(host: Host) -> str:
    """Return the command that repairs what `supervise` repairs. In a fleet, only the running `supervise` does."""
    return "conductor supervise --once" if host.fleet is None else "systemctl start conductor-supervise"


def is_live(replica: Replica, wanted: Wanted) -> bool:
    """Return whether a replica is of the live release."""
    return wanted.release is not None and replica.release == wanted.release.id


def _other_notes(
    definitions: Definitions, context: Context, wanted: Wanted, replicas: Sequence[Replica]
) -> Iterator[AnyNote]:
    """Yield the notes on replicas that are not of the live release. Retiring ones are strays once they are overdue."""
    if wanted.release is None:
        yield from _unrecorded(definitions, context, wanted.service, replicas)
        return
    late = context.clock.wall() - OVERDUE_SECONDS, context.clock.monotonic() - OVERDUE_SECONDS
    is_over = {one.id: one.is_over(*late) for one in wanted.retiring}
    others = [one for one in replicas if not is_live(one, wanted)]
    if strays := tuple(one.name for one in others if one.id not in is_over):
        yield notes.Stray(names=strays, fix=_removal(wanted))
    if overdue := tuple(one.name for one in others if is_over.get(one.id)):
        yield notes.Stray(names=overdue, fix=repair_command(context.host))
    if stopping := tuple(one.name for one in others if is_over.get(one.id) is False):
        yield notes.Retiring(names=stopping)


def _unrecorded(
    definitions: Definitions, context: Context, service: str, replicas: Sequence[Replica]
) -> Iterator[AnyNote]:
    """Yield the note on replicas of a service without a release. An upgrade replaces them after its cutover, so it loses no
    request; only a defined service can be upgraded."""
    if not replicas:
        return
    names = tuple(one.name for one in replicas)
    newest = max(replicas, key=lambda one: one.created).revision
    fix = f"conductor service upgrade --id {service} --revision {newest}"
    remove = "docker service rm" if context.host.fleet else "docker rm -f"
    yield notes.Unrecorded(
        service=service,
        names=names,
        state_dir=context.host.state_dir,
        fix=fix if service in definitions.ids else f"{remove} {' '.join(names)}",
    )


def _removal(wanted: Wanted) -> str:
    """Return the command that removes containers which are not of the live release, and changes nothing else."""
    return f"conductor service {'stop' if wanted.stopped else 'start'} --id {wanted.service}"


def _traffic_notes(traffic: TrafficState) -> Iterator[AnyNote]:
    if traffic.is_down:
        yield notes.TrafficDown(state=traffic)
    if traffic is TrafficState.NOT_LOADED:
        yield notes.TrafficNotLoaded()
    if traffic is TrafficState.NOT_ANSWERING:
        yield notes.TrafficNotAnswering()


def _supervise_notes(context: Context, wanted: Wanted, *, missing: bool) -> Iterator[AnyNote]:
    if wanted.release and missing and not context.locks.is_held(SUPERVISE_LOCK):
        yield notes.SuperviseDown(service=wanted.service)


def _image_notes(context: Context, wanted: Wanted, replicas: Sequence[Replica]) -> Iterator[AnyNote]:
    """Look for the image only if no running replica has it: Docker does not remove the image of a running container. A host
    with many services would otherwise need a call to the daemon for each."""
    if wanted.release is None or any(one.running and one.image_id == wanted.release.image_id for one in replicas):
        return
    if context.runtime.image(wanted.release.image_id) is None:
        yield notes.MissingImage(image=wanted.release.image)
