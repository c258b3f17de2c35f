"""`conductor cron install | show | remove`: the crontab that a service's app prints, wrapped, on this host."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.acting import act
from conductor.commands.options import config_option, id_option, json_option, wait_option

if TYPE_CHECKING:
    from conductor.change.doors import Doors
    from conductor.definitions.load import Definitions
    from conductor.report.events import Finished

revision_option = click.option("--revision", help="Another revision than the live one.")


@click.command("install")
@config_option
@id_option
@revision_option
@wait_option
@json_option
def install(*, config: Path, service: str, revision: str | None, wait_seconds: float, as_json: bool) -> int:
    """Have the app print its crontab, and install it; a table without jobs removes the file."""

    def action(definitions: "Definitions", doors: "Doors") -> "Finished":
        from conductor.change.cron import install

        return install(doors, definitions, service, revision, wait_seconds)

    words = f"cron install --id {service}" + (f" --revision {revision}" if revision else "")
    return act(config, words, action, as_json=as_json)


@click.command("remove")
@config_option
@id_option
@wait_option
@json_option
def remove(*, config: Path, service: str, wait_seconds: float, as_json: bool) -> int:
    """Take the service's crontab off this host, until the next install or deploy."""

    def action(definitions: "Definitions", doors: "Doors") -> "Finished":
        from conductor.change.cron import remove

        if doors.crontabs.read(service) is None and service not in doors.store.services():
            definitions.service(service)  # says that there is no such service, and which is nearest
        return remove(doors, service, wait_seconds)

    return act(config, f"cron remove --id {service}", action, as_json=as_json)


@click.command("show")
@config_option
@id_option
@revision_option
@json_option
def show(*, config: Path, service: str, revision: str | None, as_json: bool) -> int:
    """Print what would be installed, and how it differs from what is."""

    def action(definitions: "Definitions", doors: "Doors") -> "Finished":
        from conductor.change.crontab import printed, wrapped
        from conductor.report.events import Finished
        from conductor.report.output import answer
        from conductor.report.tables import as_document

        began = doors.clock.monotonic()
        text = wrapped(doors, printed(doors, definitions, service, revision)) or ""
        installed, path = doors.crontabs.read(service) or "", str(doors.crontabs.path(service))
        if as_json:
            answer(as_document({"path": path, "wanted": text, "installed": installed}))
        else:
            answer(text, end="")
        difference = difflib.unified_diff(installed.splitlines(), text.splitlines(), path, "new", n=0, lineterm="")
        said = "\n".join(difference) or f"{path} is as it should be"
        return Finished(said, doors.clock.monotonic() - began, 0, 0)

    return act(config, f"cron show --id {service}", action, as_json=False)
