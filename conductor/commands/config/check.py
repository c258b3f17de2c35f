"""`conductor config check`: all problems in the definitions file."""

from pathlib import Path

import click

from conductor.commands.options import config_option
from conductor.output.streams import write_notice, write_stdout


@click.command("check")
@config_option
@click.option(
    "--files",
    is_flag=True,
    help="Also read the secret files and env files that the definitions name, and check that the notify commands exist.",
)
def command(config: Path, files: bool) -> None:
    """Report all problems in the definitions file.

    This command changes nothing. Without --files, secret files and env files are not read.
    """
    from conductor.definitions import checks, environment
    from conductor.definitions.load import load
    from conductor.definitions.problems import DefinitionsError
    from conductor.notify.notifier import unusable

    definitions = load(config)
    unreadable = checks.file_problems(definitions) if files else {}
    problems = [*definitions.problems, *(problem for found in unreadable.values() for problem in found)]
    warning = checks.cron_command_warning(definitions.host)
    if warning and any(one.service.cron for one in definitions.services.values()):
        write_notice(f"warning: {config}: {warning}")
    for found in checks.warnings_about_files(definitions).values() if files else ():
        for problem in found:
            write_notice(f"warning: {problem}")
    for service, sentence in unusable(definitions) if files else ():
        write_notice(f"warning: {config}: {f'services.{service}' if service else 'host'}.notify: {sentence}")
    if problems:
        raise DefinitionsError(str(config), problems)
    count = len(definitions.ids)
    unread = not files and any(map(environment.files, (one.service for one in definitions.services.values())))
    left_out = " (secret files and env files were not checked; add --files)" if unread else ""
    write_stdout(f"{config}: {count} service{'s' * (count != 1)}, no problems{left_out}")
