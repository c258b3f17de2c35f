"""The text of `conductor supervise status`."""

import pytest

from conductor.commands.supervise.status import _text
from conductor.plan.route import TrafficState
from conductor.state.supervisor_status import SupervisorStatus, traffic_problem


@pytest.mark.parametrize("down", [True, False])
def test_nginx_that_does_not_run_is_shown(down: bool) -> None:
    text = _text(SupervisorStatus(pid=1, since="", text="2 services", traffic_down=down))
    assert (traffic_problem(TrafficState.DOWN) in text) is down


@pytest.mark.parametrize("state", [TrafficState.NOT_LOADED, TrafficState.FILES_MISSING])
def test_nginx_that_has_not_loaded_conductors_files_is_not_only_called_down(state: TrafficState) -> None:
    status = SupervisorStatus(pid=1, since="", text="", traffic_down=True, traffic=state)
    assert traffic_problem(state) in _text(status)
    assert traffic_problem(TrafficState.DOWN) not in _text(status)
