"""`conductor config notify`: one notification, to try the command and the webhook."""

from pathlib import Path

import click

from conductor.commands import candidates
from conductor.commands.options import config_option
from conductor.commands.variables import CommandLineOnly
from conductor.output.streams import write_stdout


@click.command("notify")
@config_option
@click.option(
    "--id", "service", cls=CommandLineOnly, metavar="ID", shell_complete=candidates.services,
    help="Use the settings of this service.",
)  # fmt: skip
def command(*, config: Path, service: str | None) -> None:
    """Print a test notification and deliver it.

    Without --id, the host's settings are used. The notification has the event `test` and is delivered regardless of the
    `on` setting.
    """
    from conductor.caller import current_user
    from conductor.commands.action import query_context
    from conductor.errors import ConductorError, UsageError
    from conductor.notify.history import host_name
    from conductor.notify.notifier import Notifier
    from conductor.output.tables import as_document
    from conductor.plan.notification import Notification

    definitions, context = query_context(config, "config notify")
    if service is not None:
        definitions.require_known(service, context.store.services())
    notifier = Notifier(lambda: definitions, context.store, context.clock)
    if notifier.settings(service) is None:
        raise UsageError(
            f"cannot send a notification about {service or 'this host'}: notify is not set", "see conductor help notify"
        )
    test = Notification(
        event="test", host=host_name(), service=service, when=context.clock.now(), who=current_user()
    )  # fmt: skip
    write_stdout(as_document(test))
    problems = notifier.deliver([test])
    if problems:
        raise ConductorError(problems[0], details=tuple(problems[1:]))
