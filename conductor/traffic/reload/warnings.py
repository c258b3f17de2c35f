"""What an operator should know about nginx's configuration although nginx accepts it, one sentence each."""

from collections.abc import Collection, Iterable

from conductor.definitions.host import HostNginx
from conductor.plan.route import Route
from conductor.traffic.nginx import Checked
from conductor.traffic.port import ManagedFile, missing_at_boot
from conductor.traffic.references import half_included, unreferenced


def ignored_names(checked: Checked, routes: Collection[Route]) -> tuple[str, ...]:
    """Return a warning for each name of these services that nginx ignores, because another block has it too."""
    blocks = [(one.service, nginx.server) for one in routes if (nginx := one.definition.service.nginx)]
    named = {service: {name.lower() for name in server.names} for service, server in blocks if server}
    return tuple(
        f"nginx has two server blocks for {name} on {address} and ignores one: "
        f"requests for {name} may not reach {' or '.join(services)}"
        for name, address in checked.ignored_names
        if (services := [service for service, names in named.items() if name in names])
    )


def without_requests(dump: str, routes: Collection[Route]) -> tuple[str, ...]:
    """Return a warning for each service to whose upstream no server block passes requests."""
    found = unreferenced(dump, {one.definition.upstream for one in routes})
    return tuple(
        f"{one.service} gets no requests: {found[one.definition.upstream]}"
        for one in routes
        if one.definition.upstream in found
    )


def half_included_blocks(dump: str, include_dir: str, routes: Collection[Route]) -> tuple[str, ...]:
    """Return a warning for each service with a server block that does not announce a reload to its clients."""
    found = half_included(dump, include_dir, {one.definition.upstream for one in routes})
    return tuple(
        f"{one.service} may lose requests during a reload: {found[one.definition.upstream]}"
        for one in routes
        if one.definition.upstream in found
    )


def reboot_warnings(installed: Iterable[ManagedFile]) -> tuple[str, ...]:
    """Return a warning when the directories that nginx needs at its start would be missing after a reboot."""
    return tuple(
        f"nginx cannot start after a reboot: {path} is missing; run conductor nginx install"
        for path in missing_at_boot(installed)
    )


def accepted(dump: str, include_dir: str, routes: Collection[Route]) -> tuple[str, ...]:
    """Return the warnings about server blocks of the operator that nginx accepts."""
    return without_requests(dump, routes) + half_included_blocks(dump, include_dir, routes)


def without_effect(host: HostNginx, own_timeout: str | None, routes: Collection[Route]) -> tuple[str, ...]:
    """Return a notice for each setting without an effect. `own_timeout`: the file with a shutdown timeout of the operator."""
    slow = [one.service for one in routes if one.definition.service.nginx and one.definition.service.nginx.slow_start]
    timeout = f"host.nginx.longest_connection has no effect: {own_timeout} sets worker_shutdown_timeout itself"
    return ((timeout,) if own_timeout else ()) + tuple(
        f"nginx.slow_start of {service} has no effect: it needs host.nginx.cutover: live"
        for service in slow
        if host.cutover != "live"
    )
