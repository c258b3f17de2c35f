"""`conductor config sync`: the definitions file from a central store."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor import DEFINITIONS
from conductor.commands.options import config_option
from conductor.commands.variables import CommandLineOnly
from conductor.errors import ConductorError
from conductor.output.streams import write_notice, write_stderr, write_stdout

if TYPE_CHECKING:
    from conductor.sync.source import Address, Source

INSTALL_HINT = "install Conductor with the [zookeeper] extra; see conductor help install"


@click.command("sync")
@config_option
@click.option(
    "--from", "url", required=True, cls=CommandLineOnly, metavar="URL",
    help="The key: etcd://HOST:PORT/KEY, consul://HOST:PORT/KEY or zookeeper://HOST:PORT/PATH.",
)  # fmt: skip
@click.option(
    "--credentials", metavar="FILE", type=click.Path(path_type=Path),
    help="A file that contains NAME:PASSWORD for etcd or ZooKeeper, or a token for Consul.",
)  # fmt: skip
@click.option("--watch", is_flag=True, help="Keep running, and write the file whenever the key changes.")
@click.option("--print-unit", cls=CommandLineOnly, is_flag=True, help="Print a systemd unit file for --watch and exit.")
def command(*, config: Path, url: str, credentials: Path | None, watch: bool, print_unit: bool) -> None:
    """Copy the definitions file from etcd, Consul or ZooKeeper.

    An invalid value is not written; the current file stays in place. This command deploys nothing.
    """
    from conductor.clock import Clock
    from conductor.definitions.environment import secret
    from conductor.sync.source import parse_address
    from conductor.sync.sync import apply, follow

    address = parse_address(url)
    if print_unit:
        print_unit_file(config, url, credentials)
        return
    source = _source(address, secret(str(credentials)).reveal() if credentials else "")
    if watch:
        follow(source, address, config, Clock(), _report)
    if found := source.read(None):
        write_stdout(apply(found, address, config))


def _source(address: "Address", credentials: str) -> "Source":
    if address.kind == "etcd":
        from conductor.sync.etcd import Etcd

        return Etcd(address, credentials)
    if address.kind == "consul":
        from conductor.sync.consul import Consul

        return Consul(address, credentials)
    try:
        from conductor.sync.zookeeper import ZooKeeper
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("conductor"):
            raise
        raise ConductorError(f"cannot read {address.url}: {error.name} is not installed", INSTALL_HINT) from error
    return ZooKeeper(address, credentials)


def _report(what: str | ConductorError) -> None:
    if isinstance(what, str):
        write_notice(what)
    else:
        from conductor.output.printers import error_text

        write_stderr(error_text(what.sentence, what.details, what.hint))


def print_unit_file(config: Path, url: str, credentials: Path | None) -> None:
    """Print the unit for this key and this definitions file."""
    from importlib.resources import files

    words = ["--from", url, *(["--credentials", str(credentials.absolute())] if credentials else [])]
    words += ["--config", str(config.absolute())] if str(config) != DEFINITIONS else []
    added = shlex.join(words).replace("%", "%%").replace("$", "$$")
    text = files("conductor").joinpath("templates/conductor-sync.service").read_text()
    text = re.sub(r"(?m)^(ExecStart=.*)$", lambda line: f"{line[1]} {added}", text)
    text = text.replace(str(Path(DEFINITIONS).parent), str(config.absolute().parent))
    write_stdout(text, end="")
