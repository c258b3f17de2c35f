"""`conductor nginx show`: the files as they should be, each marked in place or not."""

from pathlib import Path

import click

from conductor.commands.options import config_option


@click.command("show")
@config_option
def command(*, config: Path) -> None:
    """Print what nginx should include, file by file."""
    from conductor.commands.context import open_context
    from conductor.commands.routes import routes
    from conductor.output.printers import Silent
    from conductor.output.streams import answer

    definitions, context = open_context(config, "nginx show", Silent())
    included = context.traffic.texts(routes(definitions, context, definitions.ids))
    wanted = {Path(definitions.host.nginx.include_dir, name): texts for name, texts in sorted(included.items())}
    for place, (text, present) in {**wanted, **context.traffic.drop_in()}.items():
        answer(f"### {place} ({'in place' if text == present else 'differs: run conductor nginx install'})\n{text}")
