"""`conductor nginx install`: routes of all services that no command is changing."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.change import actions
from conductor.clock import Clock
from conductor.commands.nginx.install import install
from conductor.commands.nginx.routes import routes
from conductor.output.events import Notice, Warned
from conductor.plan.journal import Journal
from conductor.plan.release import Wanted
from conductor.state.locks import Locks
from tests.fakes.world import WEB, WORKER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Service web is deployed with two replicas, shop and worker are not."""
    world = World(tmp_path, {"web": WEB, "shop": WEB, "worker": WORKER})
    world.upgrade("r1", "web")
    world.recorder.events.clear()
    return world


def endpoints(world: World, service: str = "web") -> tuple[str, ...]:
    return tuple(one.endpoint for one in world.runtime.snapshot().replicas if one.service == service and one.endpoint)


def test_routes_have_the_running_replicas_of_the_live_release(world: World) -> None:
    found = {
        one.service: one.endpoints for one in routes(world.definitions, world.context(), ("web", "shop", "worker"))
    }
    assert found == {"web": endpoints(world), "shop": ()}
    first, second = world.runtime.snapshot().replicas
    world.runtime.exit(first.id)
    (route,) = routes(world.definitions, world.context(), ("web",))
    assert route.endpoints == (second.endpoint,)


def test_it_writes_what_differs(world: World) -> None:
    assert install(world.definitions, world.context()).text == "wrote shop"
    assert world.traffic.routes == {"web": endpoints(world), "shop": ()}
    assert install(world.definitions, world.context()).text == "all files are up to date; nothing to do"


def test_an_edited_file_is_overwritten_with_a_warning(world: World) -> None:
    world.traffic.edited_files["web"] = Path("/etc/nginx/conductor.d/web.conf")
    finished = install(world.definitions, world.context())
    [warned] = [event for event in world.recorder.events if isinstance(event, Warned)]
    assert warned.text.startswith("/etc/nginx/conductor.d/web.conf was edited by hand")
    assert finished.warnings == 1


def test_a_service_in_maintenance_stays_in_maintenance(world: World) -> None:
    world.perform(actions.maintenance_on("x"))
    world.traffic.maintained.clear()
    assert install(world.definitions, world.context()).text == "wrote shop, web"
    assert world.traffic.maintained == {"web": world.store.wanted("web").maintenance}
    assert world.traffic.routes["web"] == endpoints(world)


def test_the_route_of_a_service_without_nginx_is_removed(world: World) -> None:
    world.traffic.routes["worker"] = ("10.0.0.9:80",)
    install(world.definitions, world.context())
    assert "worker" not in world.traffic.routes


def test_the_route_of_a_release_with_nginx_is_kept(world: World) -> None:
    world.define({"web": {**WORKER, "count": 2}})
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == endpoints(world)


@pytest.mark.parametrize("running", [True, False])
def test_the_route_of_an_undefined_service_is_kept_while_it_has_replicas(world: World, running: bool) -> None:
    world.define({"shop": WEB})
    if not running:
        for one in world.runtime.snapshot().replicas:
            world.runtime.vanish(one.id)
    install(world.definitions, world.context())
    assert ("web" in world.traffic.routes) == running


def test_a_locked_service_is_skipped(world: World, tmp_path: Path) -> None:
    world.traffic.routes.clear()
    other = Locks(tmp_path / "run" / "locks", "service upgrade", Clock(), SignalCancellation())
    with other.hold("web"):
        install(world.definitions, world.context())
    assert world.traffic.routes == {"shop": ()}
    (notice,) = world.recorder.events
    assert isinstance(notice, Notice)
    assert notice.text.startswith("skipped web: cannot lock web: process ")


def test_a_service_with_an_interrupted_change_is_skipped(world: World) -> None:
    wanted = world.store.wanted("web")
    world.store.write_journal(
        Journal(change="u2", service="web", action="restart", command="", who="", began="", old=wanted, new=wanted)
    )
    world.traffic.routes.clear()
    install(world.definitions, world.context())
    assert world.traffic.routes == {"shop": ()}
    text = "skipped web: it has an interrupted change, which the next command on it will recover"
    assert world.recorder.events == [Notice(text=text)]


def test_problems_of_the_definitions_are_warnings(world: World) -> None:
    world.define({"web": WEB, "shop": {"image": "x", "cont": 1}})
    finished = install(world.definitions, world.context())
    assert finished.warnings == len([one for one in world.recorder.events if isinstance(one, Warned)]) == 2


def test_the_committed_definition_of_a_deployed_service_is_written(world: World) -> None:
    world.define({"web": {**WEB, "nginx": {"upstream": "other"}}, "shop": {**WEB, "nginx": {"upstream": "mall"}}})
    web, shop = routes(world.definitions, world.context(), ("web", "shop"))
    assert (web.definition.upstream, shop.definition.upstream) == ("web", "mall")
    world.define({"web": {**WEB, "cont": 1}})  # invalid
    [web] = routes(world.definitions, world.context(), ("web",))
    assert (web.definition.upstream, web.endpoints) == ("web", endpoints(world))


def test_a_server_template_belongs_to_the_release(world: World, tmp_path: Path) -> None:
    path = tmp_path / "server.j2"
    path.write_text("one")
    server = {"listen": ["80"], "names": ["example.com"], "template": str(path)}
    world.define({"web": {**WEB, "nginx": {"server": server}}})
    world.upgrade("r1")
    path.write_text("two")
    [web] = routes(world.definitions, world.context(), ("web",))
    assert web.template == "one"


def test_a_replica_that_fails_its_check_gets_no_requests(world: World) -> None:
    bad, good = world.replicas()
    world.health.unhealthy.add(bad.id)
    world.traffic.routes["web"] = (good.endpoint or "",)  # as `supervise` has left it
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == (good.endpoint,)
    world.health.unhealthy.add(good.id)
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == (good.endpoint,)  # what is in force stays
    world.traffic.routes["web"] = ()
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == endpoints(world)


def test_the_route_of_a_service_with_an_invalid_definition_is_written(world: World) -> None:
    world.define({"web": {**WEB, "cont": 1}})
    world.traffic.routes["web"] = ()
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == endpoints(world)


@pytest.mark.parametrize("defined", [WEB, WORKER])
def test_a_route_whose_release_cannot_be_read_stays(world: World, defined: dict[str, Any]) -> None:
    world.define({"web": defined})
    wanted = world.store.wanted("web")
    broken = msgspec.structs.replace(wanted.live, definition={**wanted.live.definition, "count": "many"})
    world.store.write_wanted(msgspec.structs.replace(wanted, release=broken))
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == endpoints(world)


def test_it_reports_that_nginx_is_not_running(world: World) -> None:
    world.traffic.running = False
    assert "nginx is not running" in install(world.definitions, world.context()).text


def test_settings_without_effect_are_notices(world: World) -> None:
    world.traffic.install_notices = ("longest_connection has no effect",)
    assert install(world.definitions, world.context()).warnings == 0
    assert Notice(text="longest_connection has no effect") in world.recorder.events


def test_it_names_the_operators_files_that_nginx_has_loaded(world: World) -> None:
    install(world.definitions, world.context())
    world.traffic.edits = ("/etc/nginx/conf.d/shop.conf",)
    text = install(world.definitions, world.context()).text
    assert text == "nginx loaded the changes in /etc/nginx/conf.d/shop.conf"
    assert install(world.definitions, world.context()).text == "all files are up to date; nothing to do"


def test_a_service_whose_state_is_missing_keeps_its_traffic(world: World) -> None:
    """For example because the disk with the state directory is not mounted."""
    before = world.traffic.routes["web"]
    (world.store.directory / "services" / "web.json").unlink()
    install(world.definitions, world.context())
    assert world.traffic.routes["web"] == before


def test_the_route_of_a_first_deploy_in_progress_is_kept_without_a_definition(world: World) -> None:
    wanted = Wanted(service="new")
    world.store.write_journal(
        Journal(change="u2", service="new", action="upgrade", command="", who="", began="", old=wanted, new=wanted)
    )
    world.traffic.routes["new"] = ("10.213.0.9:8080",)
    install(world.definitions, world.context())
    assert world.traffic.routes["new"] == ("10.213.0.9:8080",)
