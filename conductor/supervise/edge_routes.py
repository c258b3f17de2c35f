"""What the traffic layer of an edge has to serve, on disk: without it, an edge that restarts would not know what it has begun."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from conductor.plan.edges import RouteRequest, SharedRoute
from conductor.plan.route import Cutover
from conductor.state import files
from conductor.traffic.port import Traffic

REPAIR = "remove the file; supervise repeats the latest cutover"


class EdgeRoute(msgspec.Struct, frozen=True, kw_only=True):
    """`route` is in force unless `switching`: then a switch to another one has begun.

    `cutover` is the latest one here, and `made` the id of the request for it. It can be undone to `former`; an empty id: it cannot.
    """

    route: SharedRoute | None = None
    switching: bool = False
    made: str = ""
    former: SharedRoute | None = None
    cutover: Cutover | None = None


class EdgeRoutes:
    """The routes by service. All changes of the traffic layer are made under `lock`, and recorded before they begin."""

    def __init__(self, traffic: Traffic, state_dir: Path) -> None:
        self._traffic = traffic
        self._directory = files.make_directory(state_dir / "edge")
        self.lock = threading.RLock()
        found = {one: self._path(one) for one in files.names(self._directory, ".json")}
        self._routes = {one: files.read(path, EdgeRoute, repair=REPAIR) or EdgeRoute() for one, path in found.items()}

    def in_force(self) -> dict[str, SharedRoute]:
        """Return the route of each service that is not being switched."""
        return {name: one.route for name, one in self._routes.items() if one.route and not one.switching}

    def cutovers(self, services: Mapping[str, Any]) -> list[Cutover]:
        """Return the latest cutovers of these services, each once."""
        found = [one.cutover for service in services if (one := self._get(service)).cutover]
        return [one for number, one in enumerate(found) if one and one not in found[:number]]

    def put(self, requests: Mapping[str, RouteRequest]) -> tuple[dict[str, Any], ...]:
        """Switch to the routes that the requests, which have one id, name, unless they are in force. Return the names that are
        not reached."""
        with self.lock:
            wanted = {
                service: one.route
                for service, one in requests.items()
                if one.route and (self._get(service).switching or self._get(service).route != one.route)
            }
            if not wanted:
                return ()
            id_ = next(iter(requests.values())).id
            routes = [route.restored(service) for service, route in wanted.items()]
            before = {service: self._get(service) for service in wanted}
            unreached = self._traffic.switch(routes, lambda cutover: self._begin(before, id_, cutover))
            self._end(wanted)
            return tuple(msgspec.to_builtins(one) for one in unreached)

    def _begin(self, before: Mapping[str, EdgeRoute], id_: str, cutover: Cutover) -> None:
        """Record a cutover, and again what it leaves to drain. When a killed switch is repeated, its first cutover stays: the files
        from before it are gone."""
        for service, one in before.items():
            if not (one.switching and one.made == id_):
                made = "" if one.switching else id_
                self._write(service, EdgeRoute(
                    route=one.route, switching=True, made=made, former=one.route, cutover=cutover
                ))  # fmt: skip

    def undo(self, requests: Mapping[str, RouteRequest]) -> None:
        """Undo the cutover that the requests name, where it was made here from the route that was in force everywhere."""
        with self.lock:
            made = {
                service: one.route
                for service, one in requests.items()
                if (now := self._get(service)).cutover and (now.made, now.former) == (one.undoes, one.route)
            }
            for cutover in self.cutovers(made):
                own = {service: route for service, route in made.items() if self._get(service).cutover == cutover}
                self._traffic.undo(cutover, tuple(own), lambda cutover, own=own: self._undo(own, cutover))  # type: ignore[misc]
                self._end(own)

    def _undo(self, services: Mapping[str, Any], cutover: Cutover) -> None:
        for service in services:
            self._write(service, msgspec.structs.replace(self._get(service), switching=True, cutover=cutover))

    def _end(self, routes: Mapping[str, SharedRoute | None]) -> None:
        for service, route in routes.items():
            self._write(service, msgspec.structs.replace(self._get(service), route=route, switching=False))

    def _get(self, service: str) -> EdgeRoute:
        return self._routes.get(service, EdgeRoute())

    def _write(self, service: str, route: EdgeRoute) -> None:
        if route != self._get(service):
            files.write(self._path(service), route)
            self._routes[service] = route

    def _path(self, service: str) -> Path:
        return self._directory / f"{service}.json"
