"""Problems of valid definitions: files that they name, and keys that this version does not support."""

import os

from conductor.definitions.environment import environment, file_warnings, health_headers
from conductor.definitions.host import Host
from conductor.definitions.load import Definitions
from conductor.definitions.model import Service
from conductor.definitions.problems import DefinitionsError, Problem


def file_problems(definitions: Definitions) -> dict[str, list[Problem]]:
    """Return, by service, the problems of the secret files and env files that its definition names."""
    found = {one.id: _file_problems(one.service) for one in definitions.services.values()}
    return {service: [_in_service(one, service) for one in ones] for service, ones in found.items() if ones}


def _file_problems(service: Service) -> list[Problem]:
    problems: list[Problem] = []
    for read in (environment, health_headers):
        try:
            read(service)
        except DefinitionsError as error:
            problems += error.problems
    return problems


def warnings_about_files(definitions: Definitions) -> dict[str, list[Problem]]:
    """Return, by service, warnings about valid but probably unintended contents of these files."""
    found = {one.id: file_warnings(one.service) for one in definitions.services.values()}
    return {service: [_in_service(one, service) for one in ones] for service, ones in found.items() if ones}


def missing_command(command: str, consequence: str) -> str | None:
    """Return a sentence if a program of the host, for example `host.cron.command`, cannot be run; None if it can."""
    if os.access(command, os.X_OK):
        return None
    return f"{command} is not an executable file, so {consequence}; run ln -s $(command -v conductor) {command}"


def cron_command_warning(host: Host) -> str | None:
    """Return a sentence if the program that the crontabs run cannot be run."""
    return missing_command(host.cron.command, "no cron job can run (host.cron.command)")


def _in_service(problem: Problem, service: str) -> Problem:
    return problem._replace(key=f"services.{service}.{problem.key}") if problem.key else problem
