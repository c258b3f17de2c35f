"""Checks of nginx. They find nothing on a host without services behind nginx."""

from collections.abc import Iterator

from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, error, info, warning
from conductor.errors import ConductorError
from conductor.plan.route import NO_ANSWER, NO_ANSWER_FIX, TRAFFIC_FIXES, Route, TrafficState
from conductor.plan.transition import was_routed
from conductor.traffic.port import HOW_TO_KEEP, missing_at_boot

KEEPS_IDLE_CLIENTS = (1, 27, 4)  # has keepalive_min_timeout


def _is_here(host: Examination) -> bool:
    """True when services are behind nginx and it is installed; `program` reports that it is not."""
    try:
        return host.has_traffic and bool(host.context.traffic.version())
    except ConductorError:
        return False


def program(host: Examination) -> Iterator[Finding]:
    """The binary is installed."""
    if not host.has_traffic:
        return
    try:
        host.context.traffic.version()
    except ConductorError as refused:
        yield error(
            check="nginx-missing",
            what=refused.sentence,
            why="no requests reach the services behind nginx, and the services cannot be upgraded",
            fix=refused.hint or "apt-get install nginx-light",
        )


def running(host: Examination) -> Iterator[Finding]:
    """It answers on Conductor's own socket."""
    why = "no requests reach the services behind nginx, and the services cannot be upgraded"
    state = host.context.traffic.state() if _is_here(host) else TrafficState.RUNNING
    if state.is_down:
        yield error(check="nginx-down", what="nginx is not running", why=why, fix=TRAFFIC_FIXES[state])
    elif state is TrafficState.NOT_LOADED:
        what = "nginx is running without Conductor's files"
        yield error(check="nginx-not-loaded", what=what, why=why, fix=TRAFFIC_FIXES[state])
    elif state is TrafficState.NOT_ANSWERING:
        why = "requests to the services may fail too, and the services cannot be upgraded"
        yield error(check="nginx-not-answering", what=NO_ANSWER, why=why, fix=NO_ANSWER_FIX)


def configuration(host: Examination) -> Iterator[Finding]:
    """It accepts the files in place, includes Conductor's, and ignores no server name."""
    if not _is_here(host):
        return
    routes = [Route(one, ()) for one in host.definitions.services.values() if one.service.nginx]
    try:
        ignored = host.context.traffic.verify(routes)
    except ConductorError as refused:
        yield error(
            check="nginx-configuration",
            what=refused.sentence,
            why="no service behind nginx can be upgraded, and an nginx that rejects its configuration cannot start after a reboot",
            fix=refused.hint or "fix what nginx -t reports",
        )
        return
    for what in host.context.traffic.notices(routes):
        yield warning(
            check="nginx-no-effect",
            what=what,
            why="nginx accepts its configuration, but part of the definitions has no effect",
            fix="correct nginx's configuration, then run conductor nginx install",
        )
    for what in ignored:
        yield warning(
            check="nginx-server-name",
            what=what,
            why="nginx uses the first of two server blocks with the same name and address",
            fix="remove the name from one of the server blocks",
        )


def files(host: Examination) -> Iterator[Finding]:
    """The files that `nginx install` writes outside the include directory are in place."""
    if not _is_here(host):
        return
    installed = host.context.traffic.installed_files()
    absent = missing_at_boot(installed)
    for file in installed:
        if file.path in absent:
            yield warning(
                check="nginx-boot-file",
                what=f"{file.path} is missing",
                why="nginx cannot start after a reboot, because the directories for its sockets do not exist",
                fix="conductor nginx install",
            )
        elif file.present != file.wanted:
            yield warning(
                check="nginx-file",
                what=f"{file.path} {'is missing' if file.present is None else 'is out of date'}",
                why="nginx does not use the settings in the definitions file, or may not start after a crash",
                fix="conductor nginx install",
            )


def edited_files(host: Examination) -> Iterator[Finding]:
    """The files with the routes of the services have not been edited by hand."""
    for service in host.services if _is_here(host) else ():
        if path := host.context.traffic.edited(service):
            yield warning(
                check="nginx-edited-file",
                service=service,
                what=f"{path} was edited by hand",
                why="supervise overwrites the file within seconds; without supervise, the next change to the service does",
                fix=f"conductor nginx install   ({HOW_TO_KEEP})",
            )


def old_connections(host: Examination) -> Iterator[Finding]:
    """Workers from before a reload exit eventually."""
    if _is_here(host) and not host.context.traffic.limits_old_connections():
        nginx = host.context.host.nginx
        line = f"worker_shutdown_timeout {int(nginx.longest_connection * 1000)}ms;"
        yield warning(
            check="nginx-old-workers",
            what="worker_shutdown_timeout is not set in the main context of nginx's configuration",
            why="after a reload, old workers may hold memory and addresses until their last client disconnects",
            fix=f"conductor nginx install   (if {nginx.config} does not include modules-enabled/*.conf, add this to it: {line})",
        )


def idle_clients(host: Examination) -> Iterator[Finding]:
    """A reload does not close the connections of idle clients."""
    if not _is_here(host):
        return
    version = host.context.traffic.version()
    if host.context.host.nginx.cutover == "live":
        return
    if tuple(map(int, version.split("."))) < KEEPS_IDLE_CLIENTS:
        announce = host.context.host.nginx.announce
        yield info(
            check="nginx-idle-clients",
            what=f"nginx {version} closes idle client connections on a reload",
            why=f"a client that is idle for more than {announce.text} and does not retry may lose a request during an upgrade",
            fix="set host.nginx.announce to 2s, or host.nginx.cutover to live (needs libnginx-mod-http-lua), "
            "or install nginx 1.27.4 or newer and set keepalive_min_timeout",
        )


def cutovers(host: Examination) -> Iterator[Finding]:
    """Each service is switched in the way that the definitions file chooses."""
    chosen = host.context.host.nginx.cutover
    for row in host.rows() if _is_here(host) else ():
        wanted = host.context.store.wanted(row.service) if row.service in host.readable else None
        if wanted is None or not was_routed(wanted) or wanted.maintenance is not None:
            continue
        if (way := host.context.traffic.way(row.service)) != chosen:
            yield warning(
                check="nginx-cutover",
                service=row.service,
                what=f"the service still uses cutover: {way}, but host.nginx.cutover is {chosen}",
                why="the setting has changed, but nginx's files have not been rewritten",
                fix="conductor nginx install",
            )


CHECKS = (program, running, configuration, files, edited_files, cutovers, old_connections, idle_clients)
