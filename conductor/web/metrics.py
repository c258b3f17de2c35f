"""The metrics for Prometheus, made from what `supervise` published."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from conductor.snapshot.model import JobRow, JobState, ServiceSnapshot
from conductor.snapshot.notes import Drifted
from conductor.snapshot.published import Published, Sum, Totals
from conductor.snapshot.rows import ServiceCondition
from conductor.web.source import Condition, View

BROKEN = {ServiceCondition.INVALID_DEFINITION, ServiceCondition.DAMAGED_STATE}
JOB = ("service", "cron_job", "schedule")  # Prometheus itself uses the label `job`
Sample = tuple[tuple[str, ...], float]


def exposition(view: View, seconds: Callable[[str], float]) -> bytes:
    """Return the metrics in Prometheus's text format. `seconds` turns a time stamp (RFC 3339, UTC) into seconds since 1970."""

    def known(stamp: str) -> float:
        try:
            return seconds(stamp)
        except ValueError:  # from a damaged file of the state
            return math.nan

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Host(view, known))
    return generate_latest(registry)


class _Host(Collector):
    def __init__(self, view: View, seconds: Callable[[str], float]) -> None:
        self._view = view
        self._seconds = seconds

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics. Without a document, only these two are known."""
        view = self._view
        yield _gauge("status_success", "1 if supervise's document can be read", float(view.document is not None))
        yield _gauge("supervise_up", "1 if conductor supervise is running", float(view.condition is Condition.LIVE))
        if view.document is not None:
            yield from self._supervise(view.document)
            for service_metric in _SERVICE_GAUGES:
                yield service_metric(view.document.status.services)
            yield from self._jobs(view.document.jobs)
            yield from self._totals(view.document.totals, view.document.status.services)

    def _supervise(self, document: Published) -> Iterator[Metric]:
        machine = document.machine
        yield _gauge("info", "version of Conductor", 1, version=document.conductor)
        yield _gauge("published_timestamp_seconds", "when supervise last published", self._seconds(document.written))
        yield _gauge("supervise_start_timestamp_seconds", "when supervise started", self._seconds(document.since))
        yield _gauge(
            "runtime_up",
            "0 if the last pass failed, usually because Docker is not responding",
            float(not document.waiting_for),
        )
        yield _gauge("nginx_up", "1 if nginx is running", float(not document.status.nginx.is_down))
        yield _gauge(
            "definitions_valid",
            "0 if the definitions file is invalid, or supervise must be restarted to apply its host section",
            float(not document.problem),
        )
        if document.definitions_valid:
            name, text = "definitions_last_valid_timestamp_seconds", "when the definitions file was last valid"
            yield _gauge(name, text, self._seconds(document.definitions_valid))
        if document.totals.last_pass:
            name, text = "pass_last_success_timestamp_seconds", "when supervise last completed a pass successfully"
            yield _gauge(name, text, self._seconds(document.totals.last_pass))
        yield _gauge("changes_in_progress", "changes that have not ended", len(document.changes))
        yield _gauge("memory_available_bytes", "available memory on the host", machine.memory_available)
        labels = ("directory",)
        disks = [((one.directory,), float(one.free)) for one in machine.disks]
        yield _family(GaugeMetricFamily, "disk_free_bytes", "free space on one of the host's disks", labels, disks)

    def _jobs(self, found: tuple[JobRow, ...]) -> Iterator[Metric]:
        jobs = {(one.service, one.job, one.schedule): one for one in found}  # equal lines of a crontab are one job

        def gauge(name: str, text: str, value: Callable[[JobRow], float | None]) -> Metric:
            values = ((labels, value(one)) for labels, one in jobs.items())
            samples = [(labels, number) for labels, number in values if number is not None]
            return _family(GaugeMetricFamily, f"job_{name}", text, JOB, samples)

        yield gauge("last_start_seconds", "Unix time of the job's last start",
                    lambda one: self._seconds(one.began) if one.began else None)  # fmt: skip
        yield gauge("last_seconds", "duration of the job's last run", lambda one: one.seconds)
        yield gauge("last_exit_code", "exit code of the job's last run", lambda one: one.exit_code)
        yield gauge("failures", "failed runs since the last successful one", lambda one: one.failures)
        yield gauge("lost", "1 if the last run started, but its end was not recorded",
                    lambda one: one.state is JobState.LOST)  # fmt: skip
        yield gauge("skipped", "runs skipped because the previous run had not ended", lambda one: one.skipped)
        yield gauge("image_missing", "1 if the image of the job's release is not on this host",
                    lambda one: one.image_missing)  # fmt: skip
        states = [((*labels, one.state.value), 1.0) for labels, one in jobs.items()]
        yield _family(GaugeMetricFamily, "job_state", "1 for the state in conductor cron list", (*JOB, "state"), states)

    def _totals(self, totals: Totals, services: Iterable[ServiceSnapshot]) -> Iterator[Metric]:
        """Yield what is counted since `supervise` started. Zeros are there from the start, so that Prometheus sees each increase."""
        yield _summary("pass_seconds", "duration of supervise passes", (), {(): totals.passes})
        yield _counter("pass_failures", "passes that failed", (), [((), totals.failed_passes)])
        checks = {(one.service,): Sum(count=one.passed + one.failed, seconds=one.seconds) for one in totals.checks}
        yield _summary("health_check_seconds", "duration of health checks", ("service",), checks)
        failed = [((one.service,), one.failed) for one in totals.checks]
        yield _counter("health_check_failures", "health checks that failed", ("service",), failed)
        actions = {(one.service, one.action, one.outcome.value): one for one in totals.actions}
        labels = ("service", "action", "outcome")
        durations = {key: one.durations for key, one in actions.items()}
        yield _summary("action_seconds", "duration of changes, tasks and cron jobs, by outcome", labels, durations)
        last = [(key, self._seconds(one.last)) for key, one in actions.items()]
        name, text = "action_last_timestamp_seconds", "when an action last ended, by outcome"
        yield _family(GaugeMetricFamily, name, text, labels, last)
        steps = {(name,): one for name, one in totals.steps.items()}
        yield _summary("change_step_seconds", "duration of change steps", ("step",), steps)
        cut = [((one.service,), totals.cut_requests.get(one.service, 0)) for one in services if one.nginx]
        yield _counter("drain_cut_requests", "requests that were cut off at the drain deadline", ("service",), cut)
        yield _summary("lock_wait_seconds", "how long changes waited for locks", (), {(): totals.lock_waits})


def _services(name: str, text: str, value: Callable[[ServiceSnapshot], float | None]) -> Callable[..., Metric]:
    def metric(services: Iterable[ServiceSnapshot]) -> Metric:
        values = ((one.service, value(one)) for one in services)
        samples = [((service,), float(number)) for service, number in values if number is not None]
        return _family(GaugeMetricFamily, f"service_{name}", text, ("service",), samples)

    return metric


def _info(services: Iterable[ServiceSnapshot]) -> Metric:
    samples = [((one.service, one.revision), 1.0) for one in services if one.revision]
    text = "1 for the live revision of each deployed service"
    return _family(GaugeMetricFamily, "service_info", text, ("service", "revision"), samples)


def _condition(services: Iterable[ServiceSnapshot]) -> Metric:
    samples = [((one.service, one.condition.value), 1.0) for one in services]
    text = "1 for the service's condition in conductor service list"
    return _family(GaugeMetricFamily, "service_condition", text, ("service", "condition"), samples)


def _serving(service: ServiceSnapshot) -> int | None:
    """Return how many replicas get requests from nginx; None for a service that is not behind nginx."""
    return None if service.nginx is None else service.nginx.running


_SERVICE_GAUGES = (
    _info,
    _condition,
    _services("wanted", "wanted number of replicas", lambda one: one.wanted),
    _services("running", "running replicas of the live release", lambda one: one.running),
    _services("healthy", "healthy replicas of the live release", lambda one: one.healthy),
    _services("serving", "replicas to which nginx sends requests", _serving),
    _services("restarts", "times that supervise replaced or restarted replicas in the last hour", lambda one: one.restarts),
    _services("broken", "1 if the definition or state is invalid", lambda one: one.condition in BROKEN),
    _services("stopped", "1 if an operator stopped the service", lambda one: one.stopped is not None),
    _services("paused", "1 if an operator paused supervision", lambda one: one.paused is not None),
    _services("scaled", "1 if an operator scaled the service by hand", lambda one: one.scale is not None),
    _services("drifted", "1 if its definition or its files changed after the last deploy",
              lambda one: any(isinstance(note, Drifted) for note in one.notes)),
)  # fmt: skip


def _gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    return _family(GaugeMetricFamily, name, text, tuple(labels), [(tuple(labels.values()), value)])


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    return _family(CounterMetricFamily, name, text, labels, samples)


def _family(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    text: str,
    labels: tuple[str, ...],
    samples: Iterable[Sample],
) -> Metric:
    family = kind(f"conductor_{name}", text, labels=labels)
    for values, number in samples:
        family.add_metric(values, float(number))
    return family


def _summary(name: str, text: str, labels: tuple[str, ...], samples: Mapping[Any, Sum]) -> Metric:
    family = SummaryMetricFamily(f"conductor_{name}", text, labels=labels)
    for values, one in samples.items():
        family.add_metric(values, count_value=one.count, sum_value=one.seconds)
    return family
