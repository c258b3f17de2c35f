"""`conductor web`: the status page and the metrics."""

import re
import shlex
from pathlib import Path

import click

from conductor import RUNTIME_DIR
from conductor.commands.variables import CommandLineOnly
from conductor.errors import ConductorError

LISTEN = "127.0.0.1:9750"
UNITS = {"unit": "conductor-web.service", "socket": "conductor-web.socket"}


@click.command("web")
@click.option(
    "--listen",
    default=LISTEN,
    show_default=True,
    metavar="ADDRESS",
    help="A loopback address with a port, or unix:PATH. Ignored when systemd passes sockets.",
)
@click.option(
    "--runtime-dir", type=click.Path(path_type=Path), default=RUNTIME_DIR, show_default=True,
    help="The directory where supervise publishes the host's state: host.runtime_dir in the definitions file.",
)  # fmt: skip
@click.option("--print-unit", cls=CommandLineOnly, is_flag=True, help="Print a systemd unit file and exit.")
@click.option("--print-socket", cls=CommandLineOnly, is_flag=True, help="Print a systemd socket unit file and exit.")
def command(*, listen: str, runtime_dir: Path, print_unit: bool, print_socket: bool) -> int:
    """Serve the status page, /status.json and /metrics.

    This command serves what supervise publishes. Under systemd, it runs without privileges. To start it by hand, run it as root.
    """
    if print_unit or print_socket:
        print_unit_file(UNITS["unit" if print_unit else "socket"], runtime_dir)
        return 0
    from conductor.snapshot.published import published_path
    from conductor.web import listeners

    try:
        from conductor.web.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("conductor"):
            raise
        raise ConductorError(f"cannot serve the page: {error.name} is not installed", INSTALL_HINT) from error
    sockets = listeners.inherited() or [listeners.listener(listen)]
    serve(published_path(str(runtime_dir)), sockets)
    return 0


INSTALL_HINT = "install Conductor with the [web] extra; see conductor help install"


def print_unit_file(name: str, runtime_dir: Path) -> None:
    """Print a unit, for this runtime directory. Warn if it cannot be started on this host."""
    from importlib.resources import files

    from conductor.definitions.checks import missing_command
    from conductor.output.streams import write_notice, write_stdout

    text = files("conductor").joinpath("templates", name).read_text()
    if str(runtime_dir) != RUNTIME_DIR:
        directory = str(runtime_dir.absolute())
        text = re.sub(rf"{RUNTIME_DIR}(?![-\w.])", lambda _: directory, text)
        text = re.sub(r"(?m)^(ExecStart=.*)$", lambda line: f"{line[1]} --runtime-dir {shlex.quote(directory)}", text)
    write_stdout(text, end="")
    program = text.partition("\nExecStart=")[2].partition(" ")[0]
    if program and (warning := missing_command(program, "the unit cannot start")):
        write_notice(f"warning: {warning}")
