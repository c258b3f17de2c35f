"""`conductor service upgrade`."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from conductor.commands import candidates
from conductor.commands.action import run_action
from conductor.commands.options import ids_option
from conductor.commands.service.action import ActionOptions, action_options, action_words
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError
from conductor.output.verbosity import show_plan

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.definitions.scalars import Percent, Period
    from conductor.output.events import Finished


def _scalar(name: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return a click callback that returns a value of this scalar type of the definitions; None without the option."""

    def parsed(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
        from conductor.definitions import scalars

        try:
            return None if value is None else getattr(scalars, name).parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error

    return parsed


@click.command("upgrade")
@ids_option
@click.option(
    "--revision", cls=CommandLineOnly, metavar="REV", shell_complete=candidates.revisions,
    help="The revision to deploy: the image tag. Required except with --promote.",
)  # fmt: skip
@click.option(
    "--force", cls=CommandLineOnly, is_flag=True, help="Replace all replicas even if this revision is live and healthy."
)
@click.option("--start", cls=CommandLineOnly, is_flag=True, help="Start the service if it is stopped.")
@click.option(
    "--pull", cls=CommandLineOnly, is_flag=True,
    help="Pull the image even if it is on this host, in case the tag has moved.",
)  # fmt: skip
@click.option(
    "--canary", "canary_share", cls=CommandLineOnly, callback=_scalar("Percent"), metavar="PERCENT",
    help="First send this share of the requests to the new replicas, for example 10%. 100% means no canary.",
)  # fmt: skip
@click.option(
    "--for", "canary_for", callback=_scalar("Period"), metavar="DURATION",
    help="How long the canary lasts, for example 5m.",
)  # fmt: skip
@click.option(
    "--promote", cls=CommandLineOnly, is_flag=True,
    help="End the canary of an upgrade in progress and send all requests to its new replicas.",
)  # fmt: skip
@click.option("--skip-hooks", cls=CommandLineOnly, is_flag=True, help="Do not run before_upgrade.")
@action_options
def command(
    common: ActionOptions,
    *,
    ids: tuple[str, ...],
    revision: str | None,
    force: bool,
    start: bool,
    pull: bool,
    canary_share: "Percent | None",
    canary_for: "Period | None",
    promote: bool,
    skip_hooks: bool,
) -> int:
    """Deploy a revision without downtime.

    The new replicas must be healthy before nginx sends requests to them. Then the old replicas finish their requests and
    are removed; "conductor help nginx" lists the requests that can still be lost. If a step fails before the new release is recorded, Conductor rolls the upgrade back, and the previous release keeps serving.
    """
    from conductor.change import upgrade as upgrades
    from conductor.definitions.grammar import REVISION

    if promote:
        others = {
            "--revision": revision, "--plan": common.plan_only, "--force": force, "--start": start, "--pull": pull,
            "--canary": canary_share is not None, "--for": canary_for, "--skip-hooks": skip_hooks,
        }  # fmt: skip
        if given := [name for name, value in others.items() if value]:
            raise UsageError(f"cannot combine --promote with {given[0]}: the upgrade in progress keeps its options")
        words = action_words("upgrade", ids, "--promote")
        return run_action(
            common.config,
            words,
            lambda _, context: upgrades.promote(context, ids),
            as_json=common.as_json,
            without_edges=common.without_edges,
        )
    if revision is None:
        raise UsageError("cannot run conductor service upgrade: --revision is missing", "add --revision REV")
    if canary_share is not None and not float(canary_share):
        raise UsageError(f"cannot use --canary {canary_share.text}: it must be more than 0%")
    if not re.fullmatch(REVISION, revision):
        raise UsageError(
            f"cannot use revision {revision!r}: it is not a valid image tag",
            "use at most 128 letters, digits and _ . -, starting with a letter, a digit or _",
        )
    show_plan(common.plan_only)
    options = upgrades.Options(
        plan_only=common.plan_only, force=force, start=start, pull=pull, skip_hooks=skip_hooks, wait_seconds=common.wait_seconds,
        canary_share=canary_share, canary_for=canary_for,
    )  # fmt: skip

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        chosen = [definitions.service(service) for service in dict.fromkeys(ids)]
        return upgrades.upgrade(context, chosen, revision, options)

    return run_action(
        common.config,
        action_words("upgrade", ids, f"--revision {revision}"),
        action,
        as_json=common.as_json,
        without_edges=common.without_edges,
    )
