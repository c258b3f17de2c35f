"""Wrap a table for `/etc/cron.d`: each job becomes one `conductor run` (pure).

Cron passes the wrapped text to the host's `/bin/sh -c`. It is always one simple command of literal words, so no shell
syntax of the app runs on the host; that syntax runs in a shell inside the container.
"""

import re
from posixpath import basename

from conductor.cron import words
from conductor.cron.installed import HEADER, job_key
from conductor.cron.schedule import REBOOT
from conductor.cron.table import MAX_COMMAND_BYTES, Comment, CrontabError, Job, Setting, Table
from conductor.errors import ConductorError

USER = "root"
_MAIL = frozenset({"MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING"})
# Shells that, according to their source, only start the program when given literal words.
_PLAIN_SHELLS = frozenset({"sh", "dash", "ash", "bash"})
_BASH_STARTUP = frozenset({"BASH_ENV", "SHELLOPTS"})


def wrap(table: Table, *, service: str, revision: str, program: str, config: str | None) -> str:
    """Return the text of the file. Raise `CrontabError` with every line whose wrapped command is too long for cron."""
    start = [program, "run", *(["--config", config] if config else []), "--id", service, "--revision", revision]
    prefix = " ".join(words.crontab_word(text) for text in start)
    if not program.startswith("/") or re.search(r"[\x00-\x1f\x7f]", prefix):
        # The host's shell could read a bare name as a builtin or an assignment; a newline would start another line.
        raise ConductorError(f"cannot wrap the crontab: {prefix!r} must be one line that starts with an absolute path")
    written = [f"{HEADER} {service} {revision}. Do not edit: the next install replaces this file."]
    problems: list[tuple[int, str]] = []
    settings: dict[str, str] = {}
    for line in table.lines:
        if isinstance(line, Comment) or (isinstance(line, Setting) and line.name in _MAIL):
            written.append(line.raw)
        elif isinstance(line, Setting):
            settings[line.name] = line.value
        else:
            command = f"{prefix} {_options(line, settings)} {_inner(line, settings)}"
            written.append(f"{line.schedule} {USER} {command}")
            if (size := len(command.encode())) > MAX_COMMAND_BYTES:
                problem = f"the wrapped command has {size} bytes, but cron accepts at most {MAX_COMMAND_BYTES}"
                problems.append((line.number, f"{problem}; move the command into a script"))
    if problems:
        raise CrontabError(problems)
    return "\n".join(written) + "\n"


def _options(job: Job, settings: dict[str, str]) -> str:
    """Return the options between the revision and the command; `--job` is the last one."""
    options = ["--wait-for-docker", "5m"] if job.schedule == REBOOT else []
    for name, value in settings.items():
        options += ["-e", f"{name}={value}"]
    if "HOME" in settings:
        options += ["--workdir", settings["HOME"]]
    return " ".join(words.crontab_word(option) for option in [*options, "--job", job_key(job.command)])


def _inner(job: Job, settings: dict[str, str]) -> str:
    """Return the command for the container as written in a crontab, followed by its standard input unchanged."""
    head, rest = words.split_input(job.command)
    shell = settings.get("SHELL", words.DEFAULT_SHELL)
    plain = basename(shell) in _PLAIN_SHELLS and not (basename(shell) == "bash" and _BASH_STARTUP & settings.keys())
    if plain and words.is_literal(words.unescape(head)):
        return head + rest
    return f"{shell} -c {words.shell_quote(head)}{rest}"
