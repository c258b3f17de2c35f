"""Reported conditions and failed deliveries are kept."""

from pathlib import Path

from conductor.plan.notification import DeliveryFailure, Reported
from conductor.state.notifications import NotificationRecords


def test_reported_conditions_are_read_again(tmp_path: Path) -> None:
    records = NotificationRecords(tmp_path / "state")
    assert records.reported() == {}
    reported = {"web": {"unhealthy": Reported(since="2026-01-01T00:00:00.000Z", boot="b1")}}
    records.write_reported(reported)  # type: ignore[arg-type]
    assert records.reported() == reported
    records.write_reported({})
    assert records.reported() == {}


def test_failed_deliveries_are_counted_until_a_success(tmp_path: Path) -> None:
    records = NotificationRecords(tmp_path / "state")
    records.record_delivery("web", "t0", "")
    assert not (tmp_path / "state").exists()  # nothing to record
    records.record_delivery("web", "t1", "no pager")
    records.record_delivery("web", "t2", "no network")
    records.record_delivery("worker", "t3", "no pager")
    assert records.delivery_failure("web") == DeliveryFailure(failures=2, at="t2", problem="no network")
    (tmp_path / "state" / "notify" / "web.json").write_text("{")
    records.record_delivery("web", "t4", "no pager")
    assert records.delivery_failure("web") == DeliveryFailure(failures=1, at="t4", problem="no pager")
    records.record_delivery("web", "t5", "")
    assert records.delivery_failure("web") is None
    assert [path.name for path in (tmp_path / "state" / "notify").iterdir()] == ["worker.json"]
