"""The cookbook's files, metadata and Ruby syntax, and the example data bags against their schemas."""

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from conductor.definitions.model import Service
from conductor.definitions.schema import schema
from tests.support.chef_runs import COOKBOOK, RUBY, example_bags

SCHEMAS = {"conductor_services": "service", "conductor_hosts": "host", "conductor_secrets": "secret"}
FILES = """
README.md attributes/default.rb libraries/conductor_cookbook.rb libraries/host_definitions.rb metadata.rb
recipes/default.rb recipes/definitions.rb recipes/deploys.rb recipes/install.rb recipes/nginx.rb
recipes/supervise.rb recipes/web.rb resources/definitions.rb resources/install.rb
templates/nginx_include.conf.erb templates/services.yml.erb templates/status.conf.erb templates/sudoers.erb
templates/supervise_service.conf.erb
"""


def validator(bag: str) -> jsonschema.Draft202012Validator:
    directory = COOKBOOK / "data_bags/schema"
    registry: Registry[Any] = Registry().with_resource("conductor.schema.json", Resource.from_contents(schema()))
    document = json.loads((directory / f"{SCHEMAS[bag]}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document, registry=registry)


def test_the_cookbook_has_exactly_these_files() -> None:
    found = {str(path.relative_to(COOKBOOK)) for path in COOKBOOK.rglob("*") if path.is_file()}
    assert {name for name in found if not name.startswith("data_bags/")} == set(FILES.split())


def test_the_metadata_has_what_chef_requires() -> None:
    code = """
      found = {}
      Object.new.tap do |metadata|
        metadata.define_singleton_method(:method_missing) { |key, *words| found[key] = words }
        metadata.instance_eval(File.read(ARGV[0]))
      end
      require 'json'; puts JSON.generate(found)
    """
    path = str(COOKBOOK / "metadata.rb")
    done = subprocess.run(["ruby", "-e", code, path], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert set(found) == {"name", "maintainer", "license", "description", "version", "chef_version", "supports"}
    assert (found["name"], found["version"]) == (["conductor"], ["1.0.0"])
    assert found["chef_version"] == [">= 16.0"]


def test_ruby_compiles_every_file_without_a_warning() -> None:
    paths = [*sorted(COOKBOOK.rglob("*.rb")), *sorted(RUBY.glob("*.rb"))]
    code = "ARGV.each { |path| RubyVM::InstructionSequence.compile(File.read(path), path) }"
    done = subprocess.run(["ruby", "-w", "-e", code, *map(str, paths)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    checked = subprocess.run(["ruby", "-c", str(COOKBOOK / "metadata.rb")], capture_output=True, text=True, check=True)
    assert checked.stdout == "Syntax OK\n"


@pytest.mark.parametrize("bag", SCHEMAS)
def test_the_example_data_bags_match_their_schemas(bag: str) -> None:
    items = example_bags()[bag]
    assert items
    for name, item in items.items():
        assert item["id"] == name
        validator(bag).validate(item)


def test_the_schema_of_a_service_has_every_key_of_a_definition() -> None:
    document = json.loads((COOKBOOK / "data_bags/schema/service.schema.json").read_text())
    assert set(document["properties"]) == {*Service.__struct_fields__, "id", "runs_on", "secrets"}


@pytest.mark.parametrize(
    "change",
    [{"imagee": "x"}, {"image": "X"}, {"count": "2"}, {"runs_on": {}}, {"runs_on": {"host": ["a"]}}, {"secrets": "A"}],
)
def test_the_schema_of_a_service_rejects(change: dict[str, Any]) -> None:
    item = example_bags()["conductor_services"]["shop_web"] | change
    assert list(validator("conductor_services").iter_errors(item))


def test_the_readme_lists_every_attribute_and_custom_resource() -> None:
    readme = (COOKBOOK / "README.md").read_text()
    lines = (COOKBOOK / "attributes/default.rb").read_text().splitlines()
    names = [line.partition(" = ")[0].removeprefix("default") for line in lines if line.startswith("default")]
    assert len(names) > 5
    assert [name for name in names if name not in readme] == []
    resources = [f"conductor_{path.stem}" for path in Path(COOKBOOK, "resources").glob("*.rb")]
    assert [name for name in resources if name not in readme] == []
