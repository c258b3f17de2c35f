"""`conductor config export`: its output on each stream, and the files that it writes."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from conductor.cli import GROUPS, LazyGroup
from conductor.definitions.problems import DefinitionsError
from conductor.errors import UsageError
from conductor.plan.release import Release, Wanted
from conductor.state.store import Store

TEXT = "version: 1\nhost: {{state_dir: {0}/state}}\nservices:\n"
TEXT += "  web: {{image: shop, count: 2, health: {{none: true}}, canary: {{}}, port: 80, nginx: {{}}}}\n"
TEXT += "  job: {{image: shop, count: 0, cron: {{generate: [x]}}}}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = Store(tmp_path / "state")
    for service, crontab in (("web", ""), ("job", "@daily bin/daily\n")):
        live = Release(
            id="c1", service=service, revision="r1", image="", image_id="", digest="", definition={}, crontab=crontab
        )
        store.write_wanted(Wanted(service=service, release=live))
    file = tmp_path / "services.yml"
    file.write_text(TEXT.format(tmp_path))
    return file


def run(path: Path, *words: str) -> Result:
    group = LazyGroup("config", GROUPS["config"], "")
    return CliRunner().invoke(group, ["export", *words], env={"CONDUCTOR_CONFIG": str(path)})


def test_the_revision_is_the_live_one_or_the_given_one(path: Path) -> None:
    for words, image in (((), "shop:r1"), (("--revision", "r2"), "shop:r2")):
        services = yaml.safe_load(run(path, "--to", "compose", *words).stdout)["services"]
        assert {name: one["image"] for name, one in services.items()} == {"web": image, "job": image}


def test_the_crontab_is_that_of_the_release(path: Path) -> None:
    documents = yaml.safe_load_all(run(path, "--to", "kubernetes", "--id", "job").stdout)
    assert [one["kind"] for one in documents] == ["Deployment", "CronJob"]


def test_what_is_not_exported_is_on_stderr_and_at_the_top(path: Path) -> None:
    result = run(path, "--to", "compose")
    assert result.exit_code == 0
    notes = [line.removeprefix("check before use: ") for line in result.stderr.splitlines()]
    assert [line.removeprefix("# - ") for line in result.stdout.splitlines() if line.startswith("# - ")] == notes
    assert "canary (web): Compose has no canary deploys" in notes


def test_several_files_are_named_on_stdout(path: Path) -> None:
    out = run(path, "--to", "quadlet").stdout
    assert [line for line in out.splitlines() if line.endswith(".container")] == [
        "# web@1.container",
        "# web@2.container",
    ]


def test_output_is_a_new_directory(path: Path) -> None:
    directory = path.parent / "new"
    result = run(path, "--to", "quadlet", "--output", str(directory))
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(one.name for one in directory.iterdir()) == ["web@1.container", "web@2.container"]
    before = {one: one.read_bytes() for one in directory.iterdir()}
    error = run(path, "--to", "compose", "--output", str(directory)).exception
    assert isinstance(error, UsageError)
    assert error.sentence == f"cannot write to {directory}: it is not empty"
    assert {one: one.read_bytes() for one in directory.iterdir()} == before


def test_a_broken_service_is_not_left_out_silently(path: Path) -> None:
    path.write_text(path.read_text() + "  bad: {image: x, cont: 0}\n")
    assert isinstance(run(path, "--to", "compose").exception, DefinitionsError)
    assert run(path, "--to", "compose", "--id", "web").exit_code == 0
