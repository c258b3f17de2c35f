"""The jobs of a crontab as Kubernetes CronJobs (pure)."""

from collections.abc import Iterator, Mapping
from typing import Any

from conductor.cron import schedule
from conductor.cron.table import Job, Setting, parse
from conductor.cron.words import DEFAULT_SHELL, split_input, unescape
from conductor.export.export import Names, Notes, Source

_POLICIES = {"allow": "Allow", "skip": "Forbid", "queue": "Forbid"}
_LONGEST_NAME = 48  # of a CronJob: 52, less a number
NAME = "app.kubernetes.io/name"  # the label with the name of the Deployment
_MAIL = {"MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING"}


def cron_jobs(
    source: Source, names: Names, labels: Mapping[str, str], pod: Mapping[str, Any], notes: Notes
) -> Iterator[dict[str, Any]]:
    """Yield a CronJob for each job of the service's crontab that Kubernetes can run."""
    cron = source.service.cron
    if cron is None:
        return
    if not source.crontab:
        notes.add(source, "cron", "the service has no release on this host, so its jobs are not exported")
        return
    notes.add(source, "cron", "schedules are in the cluster's time zone; no output is mailed")
    if cron.overlap == "queue":
        notes.add(source, "cron.overlap", "a job is skipped while its previous run is running")
    settings: dict[str, str] = {}
    number = 0
    for line in parse(source.crontab, stored=True).lines:
        if isinstance(line, Setting) and line.name not in _MAIL:
            settings[line.name] = line.value
        elif isinstance(line, Job):
            number += 1
            if sentence := _impossible(line):
                notes.add(source, f"cron, line {line.number}", sentence)
                continue
            suffix = f"-job-{number}"
            wanted = labels[NAME][: _LONGEST_NAME - len(suffix)].rstrip("-") + suffix
            name = names.name((source.id, number), wanted)
            yield {
                "apiVersion": "batch/v1",
                "kind": "CronJob",
                "metadata": {"name": name, "labels": dict(labels)},
                "spec": {
                    "schedule": _schedule(line.schedule),
                    "concurrencyPolicy": _POLICIES[cron.overlap],
                    "jobTemplate": {
                        "spec": {
                            "backoffLimit": 0,
                            **({"activeDeadlineSeconds": max(1, round(cron.timeout))} if cron.timeout else {}),
                            "template": {
                                "spec": {
                                    **pod,
                                    "restartPolicy": "Never",
                                    "containers": [_container(pod, line, settings)],
                                }
                            },
                        }
                    },
                },
            }


def _impossible(job: Job) -> str:
    """Return why Kubernetes cannot run a job; empty if it can."""
    if job.schedule == schedule.REBOOT:
        return "Kubernetes has no @reboot"
    if split_input(job.command)[1]:
        return "a CronJob has no standard input (%)"
    days = job.schedule.split()[2::2] if not job.schedule.startswith("@") else []
    if any(day.startswith("*/") for day in days) and "*" not in days:
        return "cron runs this job only when day of month and day of week both match, Kubernetes when either does"
    return ""


def _schedule(written: str) -> str:
    """Return the schedule; Kubernetes does not know Sunday as 7."""
    *others, weekday = written.split()
    if "7" not in weekday:
        return written
    return " ".join((*others, ",".join(map(str, sorted(schedule.parse(written).weekdays)))))


def _container(pod: Mapping[str, Any], job: Job, settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the container of the service with the command and the settings of a job, without probes and ports."""
    [container] = pod["containers"]
    shell = settings.get("SHELL", DEFAULT_SHELL)
    kept = {key: value for key, value in container.items() if key not in {"ports", "lifecycle"} and "Probe" not in key}
    env = [one for one in container.get("env", ()) if one["name"] not in settings]
    env += [{"name": name, "value": value.replace("$", "$$")} for name, value in settings.items()]
    command = unescape(split_input(job.command)[0]).replace("$", "$$")
    return {
        **kept,
        "args": [shell, "-c", command],
        **({"env": env} if env else {}),
        **({"workingDir": settings["HOME"]} if "HOME" in settings else {}),
    }
