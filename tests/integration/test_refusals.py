"""Refusals before anything starts: a sentence and an exit code, and the live release is not touched."""

import signal
from collections.abc import Iterator

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.registry import Registry

STILL = "web is still running r1 with 1 replica\n"


def untouched(host: TestHost, told: str) -> None:
    """Nothing was started, and r1 serves."""
    assert "start  " not in told
    nothing_left_behind(host, "r1")


@pytest.mark.parametrize(
    ("service", "revision", "words"),
    [
        ("wbe", "r2", ('cannot find service "wbe": it is not in ', "services.yml", "did you mean web?")),
        ("basket", "r2", ('cannot find service "basket": it is not in ', "or use one of: web")),
        (
            "web",
            "feature/x",
            ("cannot use revision 'feature/x': it is not a valid image tag", "use at most 128 letters"),
        ),
        ("web", "-r2", ("cannot use revision '-r2': it is not a valid image tag",)),
        ("web", "", ("cannot use revision '': it is not a valid image tag",)),
        ("web", "r" * 129, ("it is not a valid image tag",)),
    ],
)
def test_an_id_or_a_revision_that_cannot_be(
    serving: TestHost, service: str, revision: str, words: tuple[str, ...]
) -> None:
    result = serving.conductor("service", "upgrade", "--id", service, f"--revision={revision}")
    untouched(serving, failed(result, 2, *words))


@pytest.mark.parametrize(
    "words",
    [
        ("service", "upgrade", "--id", "web"),
        ("service", "upgrade", "--revision", "r2"),
        ("service", "upgrade", "--id", "web", "--revision", "r2", "--frobnicate"),
        ("service", "upgrade", "--id", "web", "--revision", "r2", "--wait", "soon"),
        ("service", "explode"),
        ("explode",),
    ],
    ids=" ".join,
)
def test_a_command_line_that_means_nothing(serving: TestHost, words: tuple[str, ...]) -> None:
    result = serving.conductor(*words).expect(2)
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    untouched(serving, result.stderr)


# Images. A registry on this machine needs no certificate and no network.


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as made:
        yield made


@pytest.mark.parametrize(
    ("holds", "why"),
    [
        ("nothing", "manifest unknown"),
        ("a manifest without its layers", ""),  # the daemon tells it inside the stream of a pull that began well
    ],
)
def test_an_image_that_the_registry_does_not_have(serving: TestHost, registry: Registry, holds: str, why: str) -> None:
    image = f"{registry.address}/shop/app"
    registry.manifest = holds != "nothing"
    serving.define({"web": merged(QUICK, {"image": image})})
    told = failed(
        serving.upgrade("r2"), 1,
        f"cannot upgrade web: cannot pull image {image}:r2: ", why,
        f"check the image's name, the revision and the registry's credentials (docker login {registry.address})", STILL,
    )  # fmt: skip
    untouched(serving, told)


def test_a_registry_that_is_not_there(serving: TestHost) -> None:
    image = f"127.0.0.1:{serving.port('registry')}/shop/app"
    serving.define({"web": merged(QUICK, {"image": image})})
    told = failed(serving.upgrade("r2"), 1, f"cannot pull image {image}:r2: ", "connection refused", STILL)
    untouched(serving, told)


# Definitions.


def test_live_upstreams_need_the_lua_module(serving: TestHost) -> None:
    serving.define({"web": QUICK}, host_extra={"nginx": {"cutover": "live"}})
    for result in (serving.conductor("service", "restart", "--id", "web"), serving.upgrade("r2")):
        told = failed(
            result, 1,
            'nginx rejects its configuration: unknown directive "lua_shared_dict"',
            "apt-get install libnginx-mod-http-lua",
        )  # fmt: skip
        untouched(serving, told)


KEYS_OF_WORSE = {"count": " many", "health": "", "memory": " 1MiB"}  # as PyYAML writes them


def test_all_problems_of_a_service_at_once_and_the_others_go_on(serving: TestHost) -> None:
    broken = {"count": "many", "health": {"path": "health", "gate_intervall": "1s"}, "memory": "1MiB"}
    serving.define({"web": QUICK, "worse": broken})
    lines = serving.config.read_text().splitlines()
    begins = lines.index("  worse:")
    line = {key: lines.index(f"    {key}:{end}", begins) + 1 for key, end in KEYS_OF_WORSE.items()}
    told = failed(
        serving.upgrade("r2", "worse"), 2,
        'cannot use service "worse": ',
        f"{serving.config}:{line['count']}: services.worse.count: ",
        f"{serving.config}:{line['health'] + 1}: services.worse.health.path: ",
        "services.worse.health.gate_intervall: ", "gate_interval",
        f"{serving.config}:{line['memory']}: services.worse.memory: must be at least 6MiB",
    )  # fmt: skip
    untouched(serving, told)
    assert serving.containers("worse") == []
    failed(serving.conductor("config", "check"), 2, "services.worse.count: ")
    serving.upgrade("r2", check=True)
    nothing_left_behind(serving, "r2")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\nservices: [", ("services.yml:3: invalid YAML: ",)),
        ("version: 2\nservices: {}\n", ("services.yml:1: version: ",)),
        ("version: 1\nservices:\n  web: {image: a}\n  web: {image: b}\n", ("services.yml:4: services.web: ",)),
        (
            "version: 1\nhost: {network: {subnet: 10.1.2.3/24}}\nservices: {}\n",
            ("services.yml:2: host.network.subnet: ",),
        ),
    ],
    ids=["no YAML", "another version", "a key twice", "a broken host"],
)
def test_a_definitions_file_that_cannot_be_used(serving: TestHost, text: str, words: tuple[str, ...]) -> None:
    serving.define_raw(text)
    told = failed(serving.upgrade("r2"), 2, "cannot use ", *words)
    untouched(serving, told)


def test_no_definitions_file(serving: TestHost) -> None:
    serving.config.unlink()
    told = failed(serving.upgrade("r2"), 2, f"cannot read {serving.config}: it does not exist", "--config")
    untouched(serving, told)


def test_secret_files_that_are_not_there_are_all_named_with_their_variables(serving: TestHost) -> None:
    env = {"TOKEN": {"file": "/nonexistent/token"}, "KEY": {"file": str(serving.directory)}}
    serving.define({"web": merged(QUICK, {"env": env})})
    told = failed(
        serving.upgrade("r2"), 2,
        "cannot upgrade web: ", "/nonexistent/token: env.TOKEN: cannot be read: No such file or directory",
        f"{serving.directory}: env.KEY: must be a regular file, not a directory", STILL,
    )  # fmt: skip
    untouched(serving, told)


def test_a_busy_service(serving: TestHost) -> None:
    serving.define({"web": merged(QUICK, {"env": {"FAULT_r2": "never"}, "health": {"start_timeout": "30s"}})})
    first = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    serving.wait_for(lambda: serving.journal() and serving.revisions() == ["r1", "r2"], "the gate")
    words = (
        f"cannot lock web: process {first.pid} (service upgrade --id web --revision r2) has held it since 20",
        "wait for it with --wait 5m",
    )
    failed(serving.upgrade("r3"), 5, *words)
    waited = serving.upgrade("r3", "web", "--wait", "1s")
    failed(waited, 5, *words)
    assert 1 <= waited.seconds < 20  # the gate takes 30 s
    status = serving.conductor("service", "status", "--id", "web", check=True)
    assert f"busy: process {first.pid} " in status.stdout
    first.signal(signal.SIGINT)
    first.wait(20).expect(130)
    nothing_left_behind(serving, "r1")
