"""Actions that wait for their turn to start."""

from pathlib import Path
from typing import Any

import yaml

from tests.fakes.world import WEB
from tests.unit.supervise.conftest import SupervisedHost


def test_a_start_that_waited_while_the_definitions_changed_is_decided_again(tmp_path: Path) -> None:
    host = SupervisedHost(tmp_path, {"shop": WEB, "web": WEB})
    host.upgrade("r1")

    def define(count: int) -> None:
        host.define({service: {**WEB, "count": count} for service in ("shop", "web")})
        path = tmp_path / "services.yml"
        document = yaml.safe_load(path.read_text())
        document["host"]["supervise"] = {"starts_at_once": 1}
        path.write_text(yaml.safe_dump(document))

    define(2)
    host.supervise()
    host.run_pass()
    host.clock.advance(60.0)
    for service in ("shop", "web"):
        host.runtime.exit(min(one.id for one in host.replicas(service)))
    create, created = host.runtime.create, []

    def create_while_the_file_changes(spec: Any) -> str:
        if not created:
            define(1)
            host.file.reload(force=True)
        created.append(spec)
        return create(spec)

    host.runtime.create = create_while_the_file_changes  # type: ignore[method-assign]
    host.run_pass()
    assert len(created) == 1, "the other service has a replica, and now wants one"
    host.run_passes(10.0)
    assert (host.running("shop"), host.running("web")) == ({"r1": 1}, {"r1": 1})
    assert len(created) == 1
