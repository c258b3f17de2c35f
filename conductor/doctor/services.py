"""Checks of the services: what `service status` and `cron list` show, with the command that fixes it."""

from collections.abc import Iterator

from conductor.change.cleanup import abandoned, is_due
from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, Severity, error, info, warning
from conductor.plan.reason import AsWanted
from conductor.plan.tasks import KEEPS_FAILING
from conductor.plan.transition import was_routed
from conductor.snapshot import notes
from conductor.snapshot.host import HOUR_SECONDS
from conductor.snapshot.jobs import job_rows
from conductor.snapshot.model import JobState
from conductor.snapshot.notes import Note
from conductor.snapshot.past import read_past
from conductor.snapshot.rows import ServiceCondition, ServiceRow
from conductor.snapshot.service_notes import repair_command
from conductor.snapshot.state_notes import current_pause, read_notes, supervisor_statuses
from conductor.state.locks import Locks
from conductor.state.supervisor_status import ServiceStatus
from conductor.times import time_text

DAY_SECONDS = 86400.0  # a pause that is older and has no end was probably forgotten
KEEPS_EXITING = 3  # restarts in the last hour
UNLESS_SUPERVISED = "(not needed while supervise is running)"


def states(host: Examination) -> Iterator[Finding]:
    """Nothing in the state of a service needs an operator: damage, interrupted changes, pauses, retries."""
    statuses = supervisor_statuses(host.context)
    for service in host.services:
        for note in read_notes(host.definitions, host.context, service, statuses.get(service)):
            yield from _of_note(host, service, note)


def _of_note(host: Examination, service: str, note: Note) -> Iterator[Finding]:
    match note:
        case notes.DamagedState():
            why = "Conductor does not act on a damaged file, so no command can change the service"
            fix = note.hint or "restore the file from a backup"
            yield error(check="damaged-state", service=service, what=note.error, why=why, fix=fix)
        case notes.Interrupted():
            why, fix = "containers of both releases may be running", _repair(host)
            if paused := _paused_in_change(host, service):
                why += f", and supervise does not recover it while {paused} is paused"
                fix = f"conductor supervise resume --id {paused}   (recovers it, and ends the pause)"
            yield error(check="interrupted-change", service=service, what=note.text, why=why, fix=fix)
        case notes.Paused():
            forgotten = note.hold.until is None and host.context.clock.age(note.hold.since) > DAY_SECONDS
            severity, check = (Severity.WARNING, "pause-forgotten") if forgotten else (Severity.INFO, "paused")
            why = "failed containers of the service are not replaced"
            yield Finding(
                severity=severity,
                check=check,
                service=service,
                what=note.text,
                why=why,
                fix=f"conductor supervise resume --id {service}",
            )
        case notes.InMaintenance():
            forgotten = host.context.clock.age(note.hold.since) > DAY_SECONDS
            severity, check = (
                (Severity.WARNING, "maintenance-forgotten") if forgotten else (Severity.INFO, "maintenance")
            )
            yield Finding(
                severity=severity,
                check=check,
                service=service,
                what=note.text,
                why="no requests reach the containers of the service",
                fix=f"conductor service maintenance --id {service} off",
            )
        case notes.Stopped():
            why = "the service has no containers until it is started"
            yield info(
                check="stopped",
                service=service,
                what=note.text,
                why=why,
                fix=f"conductor service start --id {service}",
            )
        case notes.UnknownKeys():
            why = "the release was deployed by a newer version of Conductor; this version may run it differently"
            yield warning(check="unknown-keys", service=service, what=note.text, why=why, fix="upgrade Conductor")
        case notes.MissingCrontab():
            why = "supervise does not install it again, because an operator may have removed it on purpose"
            fix = f"conductor cron install --id {service}"
            yield warning(check="crontab-missing", service=service, what=note.problem, why=why, fix=fix)
        case notes.Supervise() if _retries(note.status) or notes.needs_operator(note):
            why = "supervise has not yet been able to repair the service"
            fix = f"conductor service status --id {service}   (shows the failing replicas)"
            yield warning(check="supervise-retries", service=service, what=note.text, why=why, fix=fix)
        case _:  # scaled, busy, or a first repair is normal; other checks report an invalid definition and drift
            return


def _retries(status: ServiceStatus) -> bool:
    """True when an attempt of `supervise` failed."""
    return status.attempts > 0 and not isinstance(status.reason, AsWanted)


def _paused_in_change(host: Examination, service: str) -> str | None:
    """Return a paused service of the interrupted change of `service`, if any."""
    journal = host.context.store.journal(service)
    for one in journal.services if journal and journal.services else (service,):
        if one in host.readable and current_pause(host.context, host.context.store.wanted(one)):
            return one
    return None


def replicas(host: Examination) -> Iterator[Finding]:
    """The wanted number of replicas is healthy and without drift, no others exist, and the image of the live release is
    present."""
    for row in host.rows():
        busy = _is_busy(host.context.locks, row)
        if not (busy and row.condition is ServiceCondition.SURPLUS):  # old and new replicas run
            yield from _of_condition(host, row)
        for note in row.notes:
            if isinstance(note, notes.Stray) and not busy:
                why = "they use memory and CPU time"
                yield warning(
                    check="stray-container",
                    service=row.service,
                    what=note.problem,
                    why=why,
                    fix=f"{note.fix}   {UNLESS_SUPERVISED}",
                )
            if isinstance(note, notes.Unrecorded) and not busy:
                why = "supervise does not replace these containers when they fail, and no rollback is possible"
                yield error(check="state-missing", service=row.service, what=note.problem, why=why, fix=note.remedy)
            if isinstance(note, notes.Drifted):  # here, because changed files are drift only for existing replicas
                why = "the service runs without the change"
                yield warning(check="drifted", service=row.service, what=note.problem, why=why, fix=note.fix)
            if isinstance(note, notes.MissingImage):
                why = "a replacement container, a task or a cron job fails if the image cannot be pulled"
                fix = f"docker pull {note.image}"
                yield error(
                    check="image-missing",
                    service=row.service,
                    what=f"its image {note.image} is missing",
                    why=why,
                    fix=fix,
                )


def _of_condition(host: Examination, row: ServiceRow) -> Iterator[Finding]:
    status = f"conductor service status --id {row.service}"
    match row.condition:
        case ServiceCondition.MISSING:
            why = "too few containers of the service are running"
            fix = f"conductor service start --id {row.service}   {UNLESS_SUPERVISED}"
            yield error(check="replica-missing", service=row.service, what=_counts(row), why=why, fix=fix)
        case ServiceCondition.UNHEALTHY:
            answers = [f"{one.name}: {one.describe()}" for one in row.replicas if not one.passes]
            why = f"requests to the service may fail: {'; '.join(answers)}"
            yield error(check="replica-unhealthy", service=row.service, what=row.describe(), why=why, fix=status)
        case ServiceCondition.SURPLUS:
            yield warning(
                check="replica-surplus",
                service=row.service,
                what=_counts(row),
                why="the extra replicas use memory and CPU time",
                fix=_repair(host),
            )
        case ServiceCondition.UNDEFINED if row.running:
            why = "its containers keep running, but it cannot be upgraded"
            fix = f"conductor service stop --id {row.service}   (or define it again)"
            yield warning(
                check="undefined-service",
                service=row.service,
                what="it is not in the definitions file",
                why=why,
                fix=fix,
            )
        case _:
            return


def _repair(host: Examination) -> str:
    return f"{repair_command(host.context.host)}   {UNLESS_SUPERVISED}"


def _counts(row: ServiceRow) -> str:
    return f"{row.running} running, {row.wanted} wanted"


def _is_busy(locks: Locks, row: ServiceRow) -> bool:
    """True while a change of the service is in progress or interrupted: its containers belong to that change."""
    ours = (notes.Busy, notes.Interrupted)
    return locks.is_held(row.service) or any(isinstance(note, ours) for note in row.notes)


def restarts(host: Examination) -> Iterator[Finding]:
    """The containers of no service keep exiting."""
    since = host.context.clock.later(-HOUR_SECONDS)
    for service, past in read_past(host.context.store.directory, dict.fromkeys(host.readable, ""), since).items():
        if past.restarts >= KEEPS_EXITING:
            what = f"supervise replaced or started replicas {past.restarts} times in the last hour"
            why = f"requests may have failed each time; the latest reason: {past.restart_reason}"
            fix = f"conductor service logs --id {service}   (the logs of removed replicas are kept)"
            yield warning(check="replica-restarts", service=service, what=what, why=why, fix=fix)


def routes(host: Examination) -> Iterator[Finding]:
    """Requests go to running replicas of the live release, and to all healthy ones of them. In maintenance, nginx answers."""
    traffic, store = host.context.traffic, host.context.store
    for row in host.rows():
        if row.service not in host.readable or _is_busy(host.context.locks, row) or traffic.edited(row.service):
            continue
        wanted = store.wanted(row.service)
        if wanted.release is None or not was_routed(wanted) or wanted.maintenance is not None:
            continue
        running = {one.endpoint: one for one in row.replicas if one.is_running and one.endpoint}
        others = {name for note in row.notes if isinstance(note, notes.Stray | notes.Retiring) for name in note.names}
        healthy = {place for place, one in running.items() if one.passes and one.name not in others}
        serving = traffic.serving(row.service)
        if (serving.difference(running) or healthy - serving) and _has_changed(host, row):
            continue
        if gone := serving.difference(running):
            what = f"nginx sends requests to {_listed(gone)}, where no replica is running"
            yield error(
                check="route-to-nothing",
                service=row.service,
                what=what,
                why="these requests fail or are retried",
                fix=_repair(host),
            )
        if unused := healthy - serving:
            what = f"nginx sends no requests to the healthy replicas at {_listed(unused)}"
            yield warning(
                check="route-missing",
                service=row.service,
                what=what,
                why="the other replicas must handle all requests",
                fix=_repair(host),
            )


def _has_changed(host: Examination, row: ServiceRow) -> bool:
    """True when a change of the service has ended since its row was made, which takes seconds if a replica hangs."""
    now = host.context.runtime.containers(row.service).replicas
    return {(one.id, one.state) for one in now} != {(one.id, one.state) for one in row.replicas}


def _listed(endpoints: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(endpoints))


def kept_images(host: Examination) -> Iterator[Finding]:
    """A rollback to each kept release needs no pull."""
    for service in host.readable:
        for release in host.context.store.wanted(service).kept:
            if host.context.runtime.image(release.image_id) is None:
                what = f"the image {release.image} of a retained release is missing"
                why = f"a rollback to {release.revision} must pull it, and fails if the registry cannot be reached"
                fix = f"docker pull {release.image_digest or release.image}"
                yield warning(check="kept-image-missing", service=service, what=what, why=why, fix=fix)


def leftover_tasks(host: Examination) -> Iterator[Finding]:
    """No containers of ended or overdue tasks are left."""
    wall = host.context.clock.wall()
    for one in host.context.runtime.containers().tasks:
        if is_due(one, wall) and abandoned(host.context, one):
            what = f"the task container {one.name} was left behind"
            why = "its `conductor run` process was killed, so the container stays until supervise or a later change removes it"
            yield warning(check="leftover-task", service=one.service, what=what, why=why, fix=_repair(host))


def jobs(host: Examination) -> Iterator[Finding]:
    """No cron job keeps failing."""
    for row in job_rows(host.definitions, host.context):
        if row.failures >= KEEPS_FAILING:
            what = f"the cron job {row.command} failed {row.failures} times in a row"
            why = {JobState.RUNNING: "it is running again", JobState.LOST: "its last run was killed"}.get(
                row.state, "its last result is unknown"
            )
            if row.exit_code is not None:
                what, why = f"{what}, last at {time_text(row.began)}", f"it exited with code {row.exit_code}"
            fix = f"conductor cron list --id {row.service}   (shows the end of its output)"
            yield warning(check="job-failing", service=row.service, what=what, why=why, fix=fix)


CHECKS = (states, replicas, restarts, routes, kept_images, leftover_tasks, jobs)
