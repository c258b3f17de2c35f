"""Steps 3 and 11: the app prints its crontab in a container of the new revision; the wrapped one is installed at the end."""

import secrets
from collections.abc import Callable

import msgspec

from conductor import DEFINITIONS
from conductor.change.context import Context
from conductor.change.image import pull
from conductor.change.network import ensure_network
from conductor.cron.table import CrontabError, Job, parse
from conductor.cron.wrap import wrap
from conductor.definitions.environment import environment
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition, Logging
from conductor.definitions.redaction import redactor
from conductor.errors import ConductorError
from conductor.plan.tasks import GENERATE, GENERATE_SECONDS, Task, task_spec
from conductor.plan.transition import named_release, release
from conductor.plan.values import Release
from conductor.state.crontabs import refused_by_cron

MOST_BYTES = 2**20
LAST_LINES = 20


def generate(context: Context, definition: Definition, of: Release, change: str) -> str:
    """What the app's `generate` prints on stdout, with every line fit to be installed; empty without `cron:`."""
    cron = definition.service.cron
    if cron is None:
        return ""
    values = environment(definition.service)
    redact = redactor(values.values())
    task = Task(service=definition.id, kind="task", command=cron.generate, job=GENERATE)
    spec = task_spec(
        task, definition, of, values, instance=context.host.instance, network=context.host.network.name, change=change,
        logging=Logging(driver="none"),
    )  # fmt: skip
    ensure_network(context)
    container = context.runtime.create(spec)
    try:
        said = context.runtime.capture(container, GENERATE_SECONDS, MOST_BYTES)
    finally:
        context.runtime.remove(container)
    if said.failure:
        told = redact(said.errors.decode(errors="replace")).splitlines()[-LAST_LINES:]
        raise ConductorError(
            f"cannot generate the crontab of {definition.id}: {' '.join(cron.generate)} {said.failure}",
            "",
            tuple(f"  {line}" for line in told),
        )
    _refuse(said.output, redact)
    text = said.output.decode()  # what is no UTF-8 was refused
    wrapped(context, msgspec.structs.replace(of, crontab=text))
    return text


def printed(context: Context, definitions: Definitions, service: str, revision: str | None) -> Release:
    """The live release, or that of a revision, which need not have run here, with its crontab printed now."""
    found = named_release(context.store.wanted(service), revision)
    if found:
        definition = restore(service, found.definition)
    else:
        definition = definitions.service(service)
        reference = f"{definition.service.image}:{revision}"
        image = context.runtime.image(reference) or pull(context.runtime, reference, context.report, context.clock)
        found = release(definition, revision or "", image.id, "")
    if definition.service.cron is None:
        raise ConductorError(
            f"cannot print a crontab of {service}: its definition has no cron",
            "write cron: {generate: [bin/generate-cron]}, and upgrade or restart",
        )
    text = generate(context, definition, found, secrets.token_hex(4))
    return msgspec.structs.replace(found, crontab=text)


def wrapped(context: Context, of: Release) -> str | None:
    """The file that the release wants installed; None when there is no job in it."""
    table = parse(of.crontab)
    if not table.jobs:
        return None
    config = None if str(context.config) == DEFINITIONS else str(context.config.absolute())
    program = context.host.cron.command
    return wrap(table, service=of.service, revision=of.revision, program=program, config=config)


def _refuse(printed: bytes, redact: Callable[[str], str]) -> None:
    """What cron would refuse or misread, and what may not stand in a file: all lines at once. Of a line with a secret
    nothing else is told, as that would quote it.
    """
    lines = enumerate(printed.decode(errors="replace").split("\n"), 1)
    secret = {n: "holds the value of a secret: the file would show it" for n, line in lines if redact(line) != line}
    jobs: tuple[Job, ...] = ()
    problems: list[tuple[int, str]] = []
    try:
        jobs = parse(printed).jobs
    except CrontabError as error:
        problems = [(n, reason) for n, reason in error.problems if n not in secret]
    if problems or secret:
        raise CrontabError(sorted([*problems, *secret.items()]))
    said = refused_by_cron(printed if printed.endswith(b"\n") else printed + b"\n") if jobs else None
    if said is not None:
        raise ConductorError(f"cannot use the crontab: crontab -n refuses it: {redact(said)}")
