"""`conductor nginx show`: the files as they should be, each marked in place or not."""

from pathlib import Path

import click

from conductor.commands.options import config_option


@click.command("show")
@config_option
def command(*, config: Path) -> None:
    """Print what nginx should include, file by file."""
    from conductor.commands.opening import open_doors
    from conductor.commands.sites import sites
    from conductor.report.output import answer
    from conductor.report.printers import Silent

    definitions, doors = open_doors(config, "nginx show", Silent())
    included = doors.proxy.texts(sites(definitions, doors, definitions.ids))
    wanted = {Path(definitions.host.nginx.include_dir, name): texts for name, texts in sorted(included.items())}
    for place, (text, present) in {**wanted, **doors.proxy.drop_in()}.items():
        answer(f"### {place} ({'in place' if text == present else 'differs: run conductor nginx install'})\n{text}")
