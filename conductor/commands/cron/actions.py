"""`conductor cron install | show | remove`: the crontab that a service's app prints, wrapped, on this host."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import act
from conductor.commands.options import config_option, id_option, json_option, wait_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished

revision_option = click.option("--revision", help="Another revision than the live one.")


@click.command("install")
@config_option
@id_option
@revision_option
@wait_option
@json_option
def install(*, config: Path, service: str, revision: str | None, wait_seconds: float, as_json: bool) -> int:
    """Have the app print its crontab, and install it; a table without jobs removes the file."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.install_crontab import install

        return install(context, definitions, service, revision, wait_seconds)

    words = f"cron install --id {service}" + (f" --revision {revision}" if revision else "")
    return act(config, words, action, as_json=as_json)


@click.command("remove")
@config_option
@id_option
@wait_option
@json_option
def remove(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Take the service's crontab off this host, until the next install or deploy."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.install_crontab import remove

        if context.crontabs.read(service) is None and service not in context.store.services():
            definitions.service(service)  # says that there is no such service, and which is nearest
        return remove(context, service, wait_seconds)

    return act(config, f"cron remove --id {service}", action, as_json=as_json)


@click.command("show")
@config_option
@id_option
@revision_option
@json_option
def show(*, config: Path, service: str, revision: str | None, as_json: bool) -> int:
    """Print what would be installed, and how it differs from what is."""

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.crontab import printed, wrapped
        from conductor.output.events import Finished
        from conductor.output.streams import answer
        from conductor.output.tables import as_document

        began = context.clock.monotonic()
        text = wrapped(context, printed(context, definitions, service, revision)) or ""
        installed, path = context.crontabs.read(service) or "", str(context.crontabs.path(service))
        if as_json:
            answer(as_document({"path": path, "wanted": text, "installed": installed}))
        else:
            answer(text, end="")
        difference = difflib.unified_diff(installed.splitlines(), text.splitlines(), path, "new", n=0, lineterm="")
        said = "\n".join(difference) or f"{path} is as it should be"
        return Finished(said, context.clock.monotonic() - began, 0, 0)

    return act(config, f"cron show --id {service}", action, as_json=False)
