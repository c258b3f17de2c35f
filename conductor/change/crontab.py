"""The app's crontab: generated in a container of a revision, and wrapped for the host's cron."""

import secrets
from collections.abc import Callable

import msgspec

from conductor import DEFINITIONS
from conductor.change.context import Context
from conductor.change.parallel import for_each
from conductor.change.prerequisites import ensure_network, pull_for
from conductor.cron.table import CrontabError, Job, parse
from conductor.cron.wrap import wrap
from conductor.definitions.environment import environment
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition, Logging
from conductor.definitions.redaction import redactor
from conductor.errors import ConductorError
from conductor.plan.release import Release, Wanted
from conductor.plan.tasks import GENERATE, GENERATE_SECONDS, Task, task_spec, with_deadline
from conductor.plan.transition import new_release
from conductor.runtime.port import Captured
from conductor.state.crontabs import refused_by_cron

MAX_BYTES = 2**20
LAST_LINES = 20


def generate(
    context: Context,
    definition: Definition,
    release: Release,
    change: str,
    progress: Callable[[str], None] = lambda _text: None,
) -> str:
    """Return the crontab that the app's `generate` command prints, with every line checked; empty without `cron:`."""
    cron = definition.service.cron
    if cron is None:
        return ""
    values = environment(definition.service)
    redact = redactor(values.values())
    task = Task(service=definition.id, kind="task", command=cron.generate, job=GENERATE)
    spec = task_spec(
        task, definition, release, values, instance=context.host.instance, network=context.host.network.name,
        change=change, logging=Logging(driver="none"),
    )  # fmt: skip
    ensure_network(context)
    container = context.runtime.create(with_deadline(spec, context.clock.wall(), GENERATE_SECONDS))
    try:
        captured = _capture(context, container, progress)
    finally:
        context.runtime.remove(container)
    if captured.failure:
        output = redact(captured.stderr.decode(errors="replace")).splitlines()[-LAST_LINES:]
        raise ConductorError(
            f"cannot generate the crontab for {definition.id}: {' '.join(cron.generate)} {captured.failure}",
            "",
            tuple(f"  {line}" for line in output),
        )
    _refuse_invalid(captured.stdout, redact)
    text = captured.stdout.decode()  # a table that is not UTF-8 was refused
    wrapped(context, msgspec.structs.replace(release, crontab=text))
    return text


def _capture(context: Context, container: str, progress: Callable[[str], None]) -> Captured:
    """Return the output of the container. If the change is cancelled, raise: the caller then removes the container."""
    found: list[Captured] = []

    def run(container: str) -> None:
        found.append(context.runtime.capture(container, GENERATE_SECONDS, MAX_BYTES))

    def meanwhile() -> None:
        progress("waiting for the command that prints the crontab")
        context.cancellation.check()

    for _, error in for_each([container], run, meanwhile):
        raise error
    return found[0]


def generate_for(context: Context, definitions: Definitions, service: str, revision: str | None) -> Release:
    """Return the live release, or that of `revision`, with its crontab generated now. `revision` may be new to this host."""
    found = context.store.wanted(service).find(revision)
    if found:
        definition = restore(service, found.definition)
    else:
        definition = definitions.service(service)
        reference = f"{definition.service.image}:{revision}"
        image = context.runtime.image(reference) or pull_for(context, service, reference)
        found = new_release(definition, revision or "", image.id, "")
    if definition.service.cron is None:
        raise ConductorError(
            f"cannot generate a crontab for {service}: its definition has no `cron` key",
            "add cron: {generate: [bin/generate-cron]} to the definition, then upgrade or restart the service",
        )
    text = generate(context, definition, found, secrets.token_hex(4))
    return msgspec.structs.replace(found, crontab=text)


def wanted_crontab(context: Context, wanted: Wanted, *, defined: bool) -> str | None:
    """Return the file that every manager of a fleet should have; None for no file."""
    if not defined or wanted.release is None or wanted.stopped or wanted.crontab_removed:
        return None
    return wrapped(context, wanted.release)


def wrapped(context: Context, release: Release) -> str | None:
    """Return the file to install for the release's crontab; None when it has no job."""
    table = parse(release.crontab, stored=True)
    if not table.jobs:
        return None
    config = None if str(context.config) == DEFINITIONS else str(context.config.absolute())
    program = context.host.cron.command
    return wrap(table, service=release.service, revision=release.revision, program=program, config=config)


def _refuse_invalid(table: bytes, redact: Callable[[str], str]) -> None:
    """Refuse, in one error, all lines that cron would reject or misread, or that contain a secret.

    No other problem is reported for a line with a secret, because its message would quote the line.
    """
    lines = enumerate(table.decode(errors="replace").split("\n"), 1)
    secret = {
        n: "contains the value of a secret, which must not be written to a crontab file"
        for n, line in lines
        if redact(line) != line
    }
    jobs: tuple[Job, ...] = ()
    problems: list[tuple[int, str]] = []
    try:
        jobs = parse(table).jobs
    except CrontabError as error:
        problems = [(n, reason) for n, reason in error.problems if n not in secret]
    if problems or secret:
        raise CrontabError(sorted([*problems, *secret.items()]))
    refusal = refused_by_cron(table if table.endswith(b"\n") else table + b"\n") if jobs else None
    if refusal is not None:
        raise ConductorError(f"cannot use the crontab: crontab -n rejects it: {redact(refusal)}")
