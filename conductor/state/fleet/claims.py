"""Each firing of a cron job runs on one manager, though every manager has the crontab: the one that claims its minute."""

from typing import Final

from conductor.state.fleet.objects import Objects

CLAIM: Final = "cron."  # begins the name of a job's object; no service id contains a dot
MINUTE: Final = "minute"  # its value: the latest minute that was claimed, since 1970
WRONG_CLOCK_MINUTES = 10  # a minute that is later than this was claimed by a manager with a wrong clock


def claim(objects: Objects, service: str, job: str, minute: int) -> bool:
    """Return whether this call has claimed a minute of a job, which no manager has claimed, nor a later one."""
    name, values = f"{CLAIM}{service}.{job}", {MINUTE: str(minute)}
    while True:
        found = objects.read(name)
        if found is not None and minute <= int(found.values[MINUTE]) <= minute + WRONG_CLOCK_MINUTES:
            return False
        if objects.write(found, values) if found else objects.create(name, values):
            return True
