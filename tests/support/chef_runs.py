"""The cookbook run by Ruby: templates rendered by both engines, recipes and resources on the recorder in tests/support/chef."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.commands import ROOT

COOKBOOK = ROOT / "chef_templates"
RUBY = ROOT / "tests/support/chef"
BAGS = ("conductor_services", "conductor_hosts", "conductor_secrets")


def render(*wanted: tuple[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Each template with its variables: (as Erubis renders it, as ERB does)."""
    answer = _ruby("render.rb", "--batch", given=[list(one) for one in wanted])
    return [(erubis, erb) for erubis, erb in answer]


def converge(**asked: Any) -> dict[str, Any]:
    """One converge, as `converge.rb` describes it: what was recorded and updated, or the error."""
    outcome: dict[str, Any] = _ruby("converge.rb", given=request(**asked))
    return outcome


def request(**asked: Any) -> dict[str, Any]:
    """What `converge.rb` reads; the example data bags and the node `app1` unless told otherwise."""
    return {"cookbook": str(COOKBOOK), "node": "app1", "data_bags": example_bags(), **asked}


def example_bags() -> dict[str, dict[str, Any]]:
    """The data bags of the cookbook's example, by bag and id."""
    return {bag: {path.stem: json.loads(path.read_text()) for path in _items(bag)} for bag in BAGS}


def _items(bag: str) -> Sequence[Path]:
    return sorted((COOKBOOK / "data_bags" / bag).glob("*.json"))


def _ruby(script: str, *words: str, given: object) -> Any:
    done = subprocess.run(
        ["ruby", "-W", str(RUBY / script), *words], input=json.dumps(given), capture_output=True, text=True, check=False
    )
    if done.returncode or done.stderr:
        raise AssertionError(f"{script} exited {done.returncode}: {done.stderr}{done.stdout}")
    return json.loads(done.stdout)
