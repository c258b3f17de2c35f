"""What is remembered of a cron job's runs, beyond its line in the crontab (pure)."""

import msgspec


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """The last run of a job, by its key. `exit_code` is None while it runs; `output` is the end of both streams, without
    secrets. `skipped` counts the runs left out since it began, as another one was under way.
    """

    service: str
    job: str
    version: int = 1
    revision: str = ""
    began: str = ""
    seconds: float | None = None
    exit_code: int | None = None
    output: str = ""
    skipped: int = 0
