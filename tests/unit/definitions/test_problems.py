"""What a wrong file is told: the line, the key and the sentence, all of them at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conductor.definitions.load import Definitions, load
from conductor.definitions.problems import DefinitionsError
from conductor.errors import UsageError

Read = Callable[[str], Definitions]

# A good web service, from line 3 on; a case's own lines follow at 8.
WEB = """\
version: 1
services:
  web:
    image: registry.example.com/shop
    port: 80
    health: {path: /up}
    nginx: {}
"""
# A good service without traffic; a case's own lines follow at 6.
TASK = """\
version: 1
services:
  job:
    image: shop
    count: 0
"""


def told(definitions: Definitions) -> list[str]:
    return [str(problem).partition("services.yml:")[2] for problem in definitions.problems]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        # names of keys
        ("imag: x", "6: services.job.imag: is not a key here: did you mean image?"),
        ("stop: {zz: 1}", "6: services.job.stop.zz: is not a key here: known are signal, grace"),
        ("count: 1", "6: services.job.count: is written twice: first on line 5; keep one"),
        ("env: {A: x, A: y}", "6: services.job.env.A: is written twice: first on line 6; keep one"),
        ("before_upgrade: {timeout: 1s}", "6: services.job.before_upgrade.command: is missing: write a list of words, for example [bin/web, --fast]"),
        ("env: {A B: x}", "6: services.job.env.A B: its name must be letters, digits and _ . -, starting with a letter or _"),
        ("labels: {conductor.x: y}", '6: services.job.labels.conductor.x: its name must be a label\'s name that does not start with "conductor." (our own)'),
        # types
        ("command: bin/web", "6: services.job.command: must be a list of words, for example [bin/web, --fast]"),
        ("command: []", "6: services.job.command: must be a list of words, for example [bin/web, --fast]"),
        ("command: [a, {b: c}]", "6: services.job.command[1]: must be text"),
        ("command: [a, ~]", "6: services.job.command[1]: is empty: write text"),
        ("init: 1", "6: services.job.init: must be true or false"),
        ('cpus: "1.5"', "6: services.job.cpus: must be a number of processors, for example 1.5, without quotes"),
        ("port: 0", "6: services.job.port: must be a port number, 1 to 65535"),
        ("port: true", "6: services.job.port: must be a port number, 1 to 65535"),
        ("publish: [1]", "6: services.job.publish: must be two ports, for example [21000, 21015]"),
        ("stop: SIGTERM", "6: services.job.stop: must be a mapping of signal, grace"),
        ("stop: {signal: SIGTREM}", "6: services.job.stop.signal: must be a signal's name, for example SIGTERM or SIGQUIT"),
        ("stop: {grace: 1 hour}", "6: services.job.stop.grace: must be a duration: write for example 30s, 1500ms or 2m"),
        ("memory: lots", "6: services.job.memory: must be a size: write for example 512MiB or 1GiB"),
        ("order: first-stop", "6: services.job.order: must be one of start-first, stop-first"),
        ("workdir: app", '6: services.job.workdir: must start with "/"'),
        ("env: [A=b]", "6: services.job.env: must be a mapping"),
        ("env: {A: {file: x}}", '6: services.job.env.A.file: must start with "/"'),
        ("env: {A: {path: /x}}", "6: services.job.env.A.path: is not a key here: known are file"),
        # what YAML makes of it
        ("env: {A: on}", "6: services.job.env.A: YAML reads this as true or false: put it in quotes"),
        ("env: {A: 5}", "6: services.job.env.A: YAML reads this as a number: put it in quotes"),
        ("env: {A: 0123456}", "6: services.job.env.A: YAML reads this as another number than it looks like: put it in quotes"),
        ("env: {A: 12:30}", "6: services.job.env.A: YAML reads this as another number than it looks like: put it in quotes"),
        ("env: {A: 2024-01-01}", "6: services.job.env.A: YAML reads this as a date: put it in quotes"),
        ("env: {A: .inf}", "6: services.job.env.A: YAML reads this as another number than it looks like: put it in quotes"),
        ("env: {NO: x}", "6: services.job.env.NO: YAML does not read this key as text: put the key in quotes"),
        ("env: {? [a] : x}", "6: services.job.env: has a key that is no text: write the key as one word"),
        ("env: {A: !vault x}", "6: services.job.env.A: the tag !vault has no meaning here: write the value without it"),
        ("env: !!omap [A: x]", "6: services.job.env: the tag omap has no meaning here: write the value without it"),
        ('env: {A: "\\0"}', "6: services.job.env.A: must not contain a NUL or half a character"),
        ("env: {A: 1_000}", "6: services.job.env.A: YAML reads this as another number than it looks like: put it in quotes"),
        ("cpus: 1:30", "6: services.job.cpus: YAML reads this as another number than it looks like: put it in quotes"),
        ("env: {<<: 3}", "6: services.job.env.<<: must be a mapping, for example *anchor"),
        ("env: &a {<<: *a}", "6: is nested too deeply, or contains itself"),
        ("keep_me: &a [*a]", "6: is nested too deeply, or contains itself"),
        # what a value must look like
        ("shm_size: 0", "6: services.job.shm_size: must be larger than 0"),
        ("memory: 512", "6: services.job.memory: must be at least 6MiB, the least that Docker takes"),
        ("volumes: [/a:b]", "6: services.job.volumes[0]: must be FROM:/TO or FROM:/TO:ro, where FROM is an absolute path or a volume's name"),
        ("volumes: [./a:/b]", "6: services.job.volumes[0]: must be FROM:/TO or FROM:/TO:ro, where FROM is an absolute path or a volume's name"),
        ("tmpfs: [/x, /x/]", "6: services.job.tmpfs[1]: mounts /x a second time: keep one"),
        ("ulimits: {nofile: {soft: 9, hard: 8}}", "6: services.job.ulimits.nofile: must have a soft limit that is not above the hard one"),
    ],
)  # fmt: skip
def test_one_wrong_key(read: Read, body: str, problem: str) -> None:
    try:
        problems = told(read(f"{TASK}    {body}\n"))
    except DefinitionsError as error:
        problems = [line.partition("services.yml:")[2] for line in error.details]
    assert problem in problems


@pytest.mark.parametrize(
    "image",
    ["shop", "shop/app", "host:5000/x", "registry.example.com/a/b-c_d.e", "localhost/x__y", "[::1]:5000/x"],
)
def test_images(read: Read, image: str) -> None:
    assert not told(read(TASK.replace("image: shop", f'image: "{image}"')))


@pytest.mark.parametrize(
    "image", ["shop:1", "host:5000/x:1", "x@sha256:0", "Shop", "a//b", "", "a b", "x\\n", "/x", "-x"]
)
def test_no_images(read: Read, image: str) -> None:
    (problem,) = told(read(TASK.replace("image: shop", f'image: "{image}"')))
    assert problem.startswith("4: services.job.image: must be an image's name in lower case without tag or digest")


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        ("health: {path: /up}", "", ["3: services.web.health: is missing: write how to see that it is healthy, for example {path: /health_check}, or {none: true}"]),
        ("{path: /up}", "{}", ["6: services.web.health: needs exactly one of path, command, tcp: true and none: true; it has none of them"]),
        ("{path: /up}", "{path: /up, tcp: true}", ["6: services.web.health: needs exactly one of path, command, tcp: true and none: true; it has path and tcp"]),
        ("{path: /up}", "{path: /up, tcp: false}", []),
        ("{path: /up}", "{path: /up, stable_for: 1s}", ["6: services.web.health.stable_for: means nothing with health.path: remove it (or write null to drop a default)"]),
        ("{path: /up}", "{none: true, successes: 1}", ["6: services.web.health.successes: means nothing with health.none: remove it (or write null to drop a default)"]),
        ("{path: /up}", "{none: true, stable_for: 1s}", []),
        ("{path: /up}", "{command: [x], host_header: y}", ["6: services.web.health.host_header: means nothing with health.command: remove it (or write null to drop a default)"]),
        ("{path: /up}", "{command: [x]}", []),
        ("{path: /up}", "{path: up}", ['6: services.web.health.path: must start with "/"']),
        ("{path: /up}", '{path: "/u p"}', ['6: services.web.health.path: must be a path that starts with "/" and has no spaces']),
        ("{path: /up}", '{path: "/up\\n"}', ['6: services.web.health.path: must be a path that starts with "/" and has no spaces']),
        ("{path: /up}", "{path: /up, interval: 0}", ["6: services.web.health.interval: must be longer than 0: write for example 30s, 1500ms or 2m"]),
        ("port: 80", "order: stop-first", ["3: services.web.port: is missing: health.path and nginx need the port the app listens on"]),
        ("port: 80", "port: 80\n    order: stop-first", []),
        ("port: 80", "port: 80\n    publish: [2, 1]", ["6: services.web.publish: must go from the lower to the higher port: write [1, 2]"]),
        ("port: 80", "port: 80\n    publish: [21, 22]", ["6: services.web.publish: has room for 2 ports: an upgrade of 1 containers needs 3"]),
        ("port: 80", "port: 80\n    publish: [21, 23]", []),
        ("nginx: {}", "nginx: {drain: 0s}", ["7: services.web.nginx.drain: must be longer than 0: write for example 30s, 1500ms or 2m"]),
        ("nginx: {}", "nginx: {upstream: Conductor_x}", ["7: services.web.nginx.upstream: must not start with conductor: such names are our own"]),
        ("nginx: {}", "nginx: {upstream: a;b}", ["7: services.web.nginx.upstream: must be letters, digits and _ . -, starting with a letter or digit, at most 128"]),
        ("nginx: {}", "nginx: {server: {listen: [443 ssl], names: [a]}}", ["7: services.web.nginx.server.tls: is missing: listen says ssl, so write certificate and key"]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], tls: {certificate: /a, key: /b}}}', ['7: services.web.nginx.server.tls: is never used: no listen says ssl; write for example listen: ["443 ssl"]']),
        ("nginx: {}", 'nginx: {server: {listen: ["80; include /x"], names: [a]}}', ["7: services.web.nginx.server.listen[0]: must be a value of nginx's listen, for example \"443 ssl\" (no ; { } or quotes)"]),
        ("nginx: {}", 'nginx: {server: {listen: ["80\\n"], names: [a]}}', ["7: services.web.nginx.server.listen[0]: must be a value of nginx's listen, for example \"443 ssl\" (no ; { } or quotes)"]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: ["a{}"]}}', ["7: services.web.nginx.server.names[0]: must be a host name without spaces, ; { } # or quotes"]),
        ("nginx: {}", "nginx: {server: {listen: [\"80\"], names: ['a\\']}}", ["7: services.web.nginx.server.names[0]: must be a host name without spaces, ; { } # or quotes"]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: [_, "*.a.example", "~^x\\\\d+$"], template: /a$b}}', ["7: services.web.nginx.server.template: must be an absolute path of letters, digits and _ . / @ + = , : ~ -"]),
        ("web:", "We b:", ["3: services.We b: its name must be 1 to 63 lower-case letters, digits, _ and -, starting with a letter or digit, and not addresses or nginx"]),
    ],
)  # fmt: skip
def test_a_web_service(read: Read, old: str, new: str, problems: list[str]) -> None:
    assert told(read(WEB.replace(old, new))) == problems


def test_all_problems_at_once_and_none_twice(read: Read) -> None:
    definitions = read("""\
version: 1
extra: 1
defaults:
  stop: {signal: TERM}
  memory: 1MiB
services:
  a: {image: "a:1", count: "2", health: {path: up, tcp: true}, publish: [9, 8]}
  b: {image: b, count: 0, memory: null}
  c:
""")
    assert told(definitions) == [
        "2: extra: is not a key here: known are version, host, defaults, services",
        "4: defaults.stop.signal: must be a signal's name, for example SIGTERM or SIGQUIT",
        "5: defaults.memory: must be at least 6MiB, the least that Docker takes",
        '7: services.a.image: must be an image\'s name in lower case without tag or digest, for example registry.example.com/shop (":REVISION" is added)',
        "7: services.a.count: must be a whole number from 0 to 1000, without quotes",
        '7: services.a.health.path: must start with "/"',
        "9: services.c: is empty: write a mapping",
    ]
    assert definitions.ids == ("a", "b", "c")
    assert not definitions.services


def test_a_rule_that_a_default_breaks_points_at_the_default_and_names_the_service(read: Read) -> None:
    definitions = read("""\
version: 1
defaults:
  health: {interval: 3s}
services:
  a: {image: a, port: 80, health: {path: /}}
  b: {image: b, health: {none: true}}
  c: {image: b, health: {none: true, interval: null}}
""")
    assert told(definitions) == [
        "3: services.b.health.interval: means nothing with health.none: remove it (or write null to drop a default)"
    ]
    assert list(definitions.services) == ["a", "c"]


CLASH = """\
version: 1
services:
  a: {{image: a, port: 80, health: {{path: /}}, nginx: {a}}}
  b: {{image: b, port: 80, health: {{path: /}}, nginx: {b}}}
  c: {{image: c, count: 0}}
"""


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        ("{upstream: B}", "{}", "upstream: is also the upstream of {}"),
        ("{upstream: x}", "{upstream: X}", "upstream: is also the upstream of {}"),
        (
            '{server: {listen: ["80", "8080"], names: [x, y]}}',
            '{server: {listen: ["*:80 http2"], names: [Y]}}',
            "server: has a listen and a name in common with {}",
        ),
    ],
)
def test_clashes_name_both_services(read: Read, a: str, b: str, what: str) -> None:
    definitions = read(CLASH.format(a=a, b=b))
    assert told(definitions) == [
        f"3: services.a.nginx.{what.format('b')}",
        f"4: services.b.nginx.{what.format('a')}",
    ]
    assert list(definitions.services) == ["c"]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("{upstream: x}", "{upstream: y}"),
        ('{server: {listen: ["80"], names: [x]}}', '{server: {listen: ["80"], names: [y]}}'),
        ('{server: {listen: ["80"], names: [x]}}', '{server: {listen: ["81"], names: [x]}}'),
        ('{server: {listen: ["80", "80"], names: [x, x]}}', "{}"),
    ],
)
def test_no_clashes(read: Read, a: str, b: str) -> None:
    assert not told(read(CLASH.format(a=a, b=b)))


@pytest.mark.parametrize(
    ("host", "problem"),
    [
        ("{instanc: x}", "2: host.instanc: is not a key here: did you mean instance?"),
        ("{state_dir: /a b}", "2: host.state_dir: must be an absolute path of letters, digits and _ . / @ + = , : ~ -"),
        ("{supervise: {drift: maybe}}", "2: host.supervise.drift: must be one of show, apply"),
        ("{nginx: {longest_connection: 0}}", "2: host.nginx.longest_connection: must be longer than 0: write for example 30s, 1500ms or 2m"),
        ("{network: {subnet: 10.0.0.1/24}}", "2: host.network.subnet: must be an IPv4 network: write 10.0.0.0/24"),
        ("{network: {subnet: 10.0.0.0/33}}", "2: host.network.subnet: must be an IPv4 network: for example 10.213.0.0/20"),
        ("{network: {subnet: fd00::/64}}", "2: host.network.subnet: must be an IPv4 network, for example 10.213.0.0/20"),
        ("{network: {subnet: 10.0.0.0/29, tasks: 10.0.0.4/30}}", "2: host.network.subnet: must be at least a /28 (16 addresses)"),
        ("{network: {subnet: 127.0.0.0/24, tasks: 127.0.0.128/25}}", "2: host.network.subnet: must be a network for hosts, for example 10.213.0.0/20"),
        ("{network: {subnet: 10.0.0.0/24}}", "2: host.network.tasks: must be a smaller network inside the subnet 10.0.0.0/24"),
        ("{network: {subnet: 10.0.0.0/24, tasks: 10.0.0.0/24}}", "2: host.network.tasks: must be a smaller network inside the subnet 10.0.0.0/24"),
        ("{network: {subnet: 10.0.0.0/24, tasks: 10.0.0.0/28}}", "2: host.network.tasks: must not hold 10.0.0.1, the gateway: take the subnet's end"),
        ("7", "2: host: must be a mapping of instance, docker, network, state_dir, runtime_dir, nginx, cron, supervise, keep"),
    ],
)  # fmt: skip
def test_a_broken_host_stops_everything(read: Read, host: str, problem: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        read(f"version: 1\nhost: {host}\nservices: {{}}\n")
    assert problem in [str(found).partition("services.yml:")[2] for found in caught.value.problems]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1: is empty: write a mapping of version, host, defaults, services"),
        ("[]", "1: must be a mapping of version, host, defaults, services"),
        ("services: {}", "1: version: is missing: write 1, the only format there is"),
        ("version: 2", "1: version: must be 1, the only format there is"),
        ('version: "1"', "1: version: must be 1, the only format there is"),
        ("version: true", "1: version: must be 1, the only format there is"),
        ("version: 1\na: b: c", "2: is not YAML: mapping values are not allowed in this context"),
        ("version: 1\nservices:\n\ta: 1", "3: is not YAML: indentation must be spaces, here is a tab"),
        ("version: 1\n---\nversion: 1", "2: is not YAML: expected a single document in the stream, but found another document"),
        ("version: 1\na: *b", "2: is not YAML: found undefined alias"),
        ("version: 1\na: \x01", "2: is not YAML: the character #x0001 is not allowed"),
        ("version: 1 # é\na: 'b", "2: is not YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("- " * 5000, "1: is nested too deeply"),
        ("version: 1\na: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]", "has more than 100000 values"),
    ],
)  # fmt: skip
def test_a_file_of_which_nothing_can_be_used(read: Read, text: str, problem: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        read(text)
    (line,) = caught.value.details
    assert problem in line
    assert caught.value.exit_code == 2


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_bytes(b"version: 1\nservices: {}  # caf\xe9\n")
    with pytest.raises(DefinitionsError) as caught:
        load(path)
    assert caught.value.details == (f"{path}:2: is not UTF-8: save the file as UTF-8",)
    path.write_bytes("\ufeffversion: 1\nservices: {}  # café\n".encode())
    assert load(path).ids == ()


def test_unknown_ids_suggest_the_nearest(read: Read) -> None:
    definitions = read(WEB)
    with pytest.raises(UsageError) as caught:
        definitions.service("wep")
    assert caught.value.sentence == f'cannot find service "wep": not in {definitions.path}'
    assert caught.value.hint == "did you mean web?"
    with pytest.raises(UsageError) as caught:
        definitions.service("quite-another")
    assert caught.value.hint == "it has web"


def test_a_broken_service_does_not_stop_another(read: Read) -> None:
    definitions = read(WEB + "  other: {image: x, cont: 2, health: {none: true}}\n  third: {image: y, count: 0}\n")
    assert definitions.service("web").service.port == 80
    assert definitions.service("third").service.count == 0
    with pytest.raises(DefinitionsError) as caught:
        definitions.service("other")
    assert [problem.key for problem in caught.value.problems] == ["services.other.cont"]
    assert caught.value.sentence == 'cannot use service "other": 1 problem'
