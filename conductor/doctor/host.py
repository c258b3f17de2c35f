"""Checks of the host: definitions, files and their modes, the disk, cron, and `supervise`."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from conductor.definitions import checks
from conductor.definitions.host import Notify
from conductor.definitions.model import Definition, EnvFile
from conductor.definitions.problems import DefinitionsError
from conductor.definitions.section import SecretRef
from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, error, warning
from conductor.doctor.room import little_room
from conductor.errors import ConductorError, is_denied
from conductor.notify.notifier import Notifier, unusable
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.last_definitions import read_last_definitions
from conductor.state.notifications import NotificationRecords
from conductor.state.supervisor_status import NOT_RUNNING, START_SUPERVISE, SUPERVISE_LOCK, read_status
from conductor.times import time_text

UNIT = "conductor-supervise.service"
CRON_READS = "/etc/cron.d"
KEEPS_FAILING = 2  # deliveries in a row
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def caller(host: Examination) -> Iterator[Finding]:
    """The caller can read everything."""
    if not host.is_root:
        yield warning(
            check="not-root",
            what="doctor is not running as root",
            why="files that only root can read are not checked",
            fix="sudo conductor doctor",
        )


def definitions(host: Examination) -> Iterator[Finding]:
    """The definitions file is valid."""
    correct = "correct the file; conductor config check shows all problems"
    if (unusable := host.unusable) is not None:
        why = "no service can be changed until the file is valid; supervise uses the last valid definitions"
        problems = unusable.problems if isinstance(unusable, DefinitionsError) else ()
        for what in map(str, problems) if problems else (unusable.sentence,):
            yield error(check="definitions", what=what, why=why, fix=unusable.hint or correct)
        return
    for problem in host.definitions.problems:
        affected = [service for service, found in host.definitions.broken.items() if problem in found]
        yield error(
            check="definitions",
            what=str(problem),
            why="the service cannot be upgraded; supervise keeps its last valid definition",
            fix=correct,
            service=affected[0] if len(affected) == 1 else None,
        )


def files_of_services(host: Examination) -> Iterator[Finding]:
    """The secret files and env files can be read, and have plausible contents."""
    for service, problems in checks.file_problems(host.definitions).items():
        for problem in problems:
            if not host.is_root and _is_denied(str(problem.file)):  # `caller` reports it
                continue
            yield error(
                check="service-file",
                what=str(problem),
                why="the service's containers cannot be created: upgrades, repairs, tasks and cron jobs fail",
                fix=f"create or correct {problem.file}   (conductor config check --files checks it)",
                service=service,
            )
    for service, problems in checks.warnings_about_files(host.definitions).items():
        for problem in problems:
            yield warning(
                check="service-file-content",
                what=str(problem),
                why="the service probably gets a different value than you intended",
                fix=f"correct the file, then run conductor service restart --id {service}",
                service=service,
            )


def secret_modes(host: Examination) -> Iterator[Finding]:
    """Only their owner and group can read the files with secrets."""
    services = host.definitions.services.items()
    secret_files = [
        (None, _webhook_file(host.definitions.host.notify)),
        *((one, _secret_files(d)) for one, d in services),
    ]
    for service, paths in secret_files:
        for path in paths:
            found = _status(path)
            if found and found.st_mode & (stat.S_IROTH | OTHERS_WRITE):
                yield warning(
                    check="secret-mode",
                    what=_mode(path, stat.S_IMODE(found.st_mode)),
                    why="other users of this host can read or replace the secret",
                    fix=f"chmod 0600 {path}",
                    service=service,
                )


def _webhook_file(notify: Notify | tuple[str, ...] | None) -> Iterator[str]:
    """Yield the file that has the URL of the webhook, if any."""
    if isinstance(notify, Notify) and isinstance(notify.webhook, SecretRef):
        yield notify.webhook.file


def _secret_files(definition: Definition) -> Iterator[str]:
    service = definition.service
    headers = service.health.headers if service.health else {}
    written = (*service.env.values(), *headers.values())
    yield from dict.fromkeys(one.file for one in written if isinstance(one, SecretRef))
    if isinstance(service.env_file, EnvFile) and service.env_file.secret:
        yield service.env_file.path
    if service.nginx and service.nginx.server and service.nginx.server.tls:
        yield service.nginx.server.tls.key
    yield from _webhook_file(service.notify)


def modes(host: Examination) -> Iterator[Finding]:
    """Other users cannot read or replace Conductor's files, and nginx's workers can enter the runtime directory."""
    settings = host.context.host
    state, runtime, traffic = settings.state_dir, settings.runtime_dir, f"{settings.runtime_dir}/nginx"
    wanted = {state: 0o700, runtime: 0o755, traffic: 0o755, str(host.context.config): 0o644}
    for path, allowed in {**wanted, settings.nginx.include_dir: 0o755, settings.cron.dir: 0o755}.items():
        found = _status(path)
        if found is None:
            continue
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077 & ~allowed:
            why = "other users can read environment variables and logs, or change what root runs"
            yield warning(check="file-mode", what=_mode(path, mode), why=why, fix=f"chmod {allowed:04o} {path}")
        if path in {runtime, traffic} and not mode & stat.S_IXOTH:
            why = "nginx's workers cannot see that a reload is announced, so every cutover fails"
            yield error(check="runtime-mode", what=_mode(path, mode), why=why, fix=f"chmod 0755 {path}")
        if found.st_uid not in {0, os.geteuid()}:
            what, why = f"{path} is owned by user {found.st_uid}", "that user can change what root runs"
            yield warning(check="file-owner", what=what, why=why, fix=f"chown root: {path}")


def _mode(path: str, mode: int) -> str:
    return f"{path} has mode {mode:04o}"


def _is_denied(path: str) -> bool:
    try:
        with Path(path).open("rb"):
            return False
    except OSError as error:
        return is_denied(error)


def _status(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except OSError:
        return None


def disk(host: Examination) -> Iterator[Finding]:
    """There is free space for state files."""
    directory = Path(host.context.host.state_dir)
    if directory.is_dir():
        yield from little_room(host, "state-disk", str(directory), "no service can be changed")


def state_files(host: Examination) -> Iterator[Finding]:
    """The state files that belong to no single service can be read."""
    context = host.context
    reads = (
        context.store.addresses,
        context.traffic.known,
        lambda: read_last_definitions(Path(context.host.state_dir)),
        lambda: read_status(context.host.runtime_dir, context.locks),
    )
    unavailable: RuntimeUnavailable | None = None
    for read in reads:
        try:
            read()
        except RuntimeUnavailable as silent:  # the state of a fleet, which is not damaged
            unavailable = silent
        except ConductorError as refused:
            if is_denied(refused) and not host.is_root:  # `caller` reports it
                continue
            yield error(
                check="damaged-state",
                what=refused.sentence,
                why="Conductor does not act on a damaged file, so changes and repairs fail",
                fix=refused.hint or "restore the file from a backup",
            )
    if unavailable is not None:
        raise unavailable


def cron(host: Examination) -> Iterator[Finding]:
    """The host's cron runs the installed crontabs."""
    context, settings = host.context, host.context.host.cron
    paths = [path for service in host.services if (path := context.crontabs.path(service)).exists()]
    defined = [service for service, one in host.definitions.services.items() if one.service.cron]
    if not paths and not defined:
        return
    why = "no cron jobs run"
    try:
        for service in defined:
            context.crontabs.check(service)
    except ConductorError as refused:
        yield _cron("cron-directory", refused.sentence, "services with cron jobs cannot be upgraded", refused.hint)
    if not host.is_cron_running():
        yield _cron(
            "cron-down", "no cron daemon is running", why, "apt-get install cron && systemctl enable --now cron"
        )
    if Path(settings.dir).resolve() != Path(CRON_READS):
        yield warning(
            check="cron-elsewhere",
            what=f"host.cron.dir is {settings.dir}",
            why=f"Debian's cron reads {CRON_READS} instead",
            fix=f"set host.cron.dir to {CRON_READS}, then run conductor cron install for each service",
        )
    if not os.access(settings.command, os.X_OK):
        fix = f"ln -s $(command -v conductor) {settings.command}   (or set host.cron.command)"
        yield _cron(
            "cron-command",
            f"{settings.command} is not an executable file",
            f"{why}, because the crontabs run this file",
            fix,
        )
    for path in paths:
        found = path.stat()
        if found.st_mode & OTHERS_WRITE or found.st_uid not in {0, os.geteuid()}:
            what = f"{path} is owned by user {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}"
            yield _cron("cron-file", what, "cron ignores the whole file", f"chown root {path}; chmod 0600 {path}")


def _cron(check: str, what: str, why: str, fix: str) -> Finding:
    return error(check=check, what=what, why=why, fix=fix)


def supervise(host: Examination) -> Iterator[Finding]:
    """`supervise` runs now and after a reboot, with the definitions of the file."""
    context = host.context
    status = None
    with contextlib.suppress(ConductorError):  # `state_files` reports it
        status = read_status(context.host.runtime_dir, context.locks)
    if not context.locks.is_held(SUPERVISE_LOCK):
        why = "failed containers will not be replaced"
        yield _supervise("supervise-down", NOT_RUNNING, why, START_SUPERVISE)
    if status is not None and status.problem and host.unusable is None and not host.definitions.problems:
        why = "supervise is not using the definitions in the file"
        yield _supervise("supervise-definitions", status.problem, why, "systemctl restart conductor-supervise")
    unit = host.unit(UNIT)
    if unit is None:
        return
    why = "services will not start after a reboot"
    if not unit.installed:
        fix = f"conductor supervise --print-unit >/etc/systemd/system/{UNIT} && systemctl enable --now {UNIT}"
        yield _supervise("supervise-unit", f"{UNIT} is not installed", why, fix)
    elif not unit.enabled:
        yield _supervise("supervise-unit", f"{UNIT} does not start at boot", why, f"systemctl enable {UNIT}")
    elif not unit.active and context.locks.is_held(SUPERVISE_LOCK):
        holder = context.locks.holder(SUPERVISE_LOCK)
        other = f"kill {holder.pid} && " if holder else ""  # while it runs, the unit cannot start
        what, why = f"supervise is running, but not as {UNIT}", "systemd will not start it again if it exits"
        yield _supervise("supervise-unit", what, why, f"{other}systemctl start {UNIT}")


def _supervise(check: str, what: str, why: str, fix: str) -> Finding:
    return warning(check=check, what=what, why=why, fix=fix)


def notifications(host: Examination) -> Iterator[Finding]:
    """Notifications can be delivered, and the latest ones were."""
    try_it = "conductor config notify"
    for service, problem in unusable(host.definitions):
        yield warning(
            check="notify-unusable",
            service=service,
            what=problem,
            why="notifications cannot be delivered",
            fix=f"correct it, then run {try_it}{f' --id {service}' if service else ''}",
        )
    store = host.context.store
    notifier = Notifier(lambda: host.definitions, store, host.context.clock)
    for service in host.services:
        found = NotificationRecords(store.directory).delivery_failure(service)
        if found is not None and found.failures >= KEEPS_FAILING and notifier.settings(service) is not None:
            yield warning(
                check="notify-failing",
                service=service,
                what=f"the last {found.failures} notifications failed, most recently at {time_text(found.at)}: {found.problem}",
                why="no notification will arrive if a change fails or the service becomes unhealthy",
                fix=f"{try_it} --id {service}",
            )


CHECKS = (
    caller, definitions, files_of_services, secret_modes, modes, disk, state_files, cron, supervise, notifications,
)  # fmt: skip
