"""What nginx should know of every defined service, from wanted state and from what runs."""

from conductor.change.doors import Doors
from conductor.definitions.load import Definitions
from conductor.proxy.render import Site


def sites(definitions: Definitions, doors: Doors) -> tuple[Site, ...]:
    """A site for each service with nginx: running containers of the live release, or none.

    A host where nothing was deployed yet needs no daemon for this.
    """
    found = []
    for definition in definitions.services.values():
        release = doors.store.wanted(definition.id).release
        if definition.service.nginx is None:
            continue
        containers = doors.engine.containers(definition.id) if release else ()
        live = tuple(c.address for c in containers if release and c.change == release.change and c.running)
        found.append(Site(definition, live))
    return tuple(found)
