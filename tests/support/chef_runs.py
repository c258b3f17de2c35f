"""The cookbook run by Ruby: templates rendered by two engines, recipes and resources on the recorder in tests/support/chef."""

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
    """Render each template with its variables; return pairs of the texts from Erubis and ERB."""
    answer = _ruby("render.rb", "--batch", given=[list(one) for one in wanted])
    return [(erubis, erb) for erubis, erb in answer]


def converge(**options: Any) -> dict[str, Any]:
    """Run one converge as `converge.rb` describes it; return the recorded and updated resources, or the error."""
    outcome: dict[str, Any] = _ruby("converge.rb", given=request(**options))
    return outcome


def request(**options: Any) -> dict[str, Any]:
    """Return the input of `converge.rb`; by default the example data bags and the node `app1`."""
    return {"cookbook": str(COOKBOOK), "node": "app1", "data_bags": example_bags(), **options}


def example_bags() -> dict[str, dict[str, Any]]:
    """Return the cookbook's example data bags, by bag and id."""
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
