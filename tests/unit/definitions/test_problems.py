"""The problems of a broken file: file, line, key and sentence, all problems at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conductor.definitions.load import Definitions, load
from conductor.definitions.problems import DefinitionsError
from conductor.errors import UsageError

Read = Callable[[str], Definitions]

# A valid web service; keys added by a case start on line 8.
WEB = """\
version: 1
services:
  web:
    image: registry.example.com/shop
    port: 80
    health: {path: /up}
    nginx: {}
"""
# A valid service without traffic; keys added by a case start on line 6.
TASK = """\
version: 1
services:
  job:
    image: shop
    count: 0
"""
HOST = "version: 1\nservices: {}\nhost: "
TWO = """\
version: 1
services:
  a: {{image: a, port: 80, health: {{path: /}}, nginx: {a}}}
  b: {{image: b, port: 80, health: {{path: /}}, nginx: {b}}}
  c: {{image: c, count: 0}}
"""
PORTS = """\
version: 1
services:
  a: {{image: a, port: 80, health: {{path: /}}, publish: {a}}}
  b: {{image: b, port: 80, health: {{path: /}}, publish: {b}}}
  c: {{image: c, port: 80, count: 0, publish: [100, 102]}}
"""


def problems_of(read: Read, text: str) -> list[tuple[int, str, str]]:
    """Line, key and sentence of each problem of a text, whether or not the rest of the file can be used."""
    try:
        problems = read(text).problems
    except DefinitionsError as error:
        problems = error.problems
    assert all(Path(problem.file).name == "services.yml" for problem in problems)
    return [(problem.line, problem.key, problem.sentence) for problem in problems]


def places(read: Read, text: str) -> list[tuple[int, str]]:
    return [(line, key) for line, key, _ in problems_of(read, text)]


# Each sentence once, grouped by the module that has it.
SENTENCES = [
    # explain.py
    (f"{TASK}    imag: x", 6, "services.job.imag", "unknown key; did you mean image?"),
    (f"{TASK}    environment: {{}}", 6, "services.job.environment", "unknown key; did you mean env?"),
    (f"{TASK}    secrets: []", 6, "services.job.secrets", "Docker's secrets are not supported; write each one as env: {NAME: {file: /PATH}}"),
    (f"{TASK}    stop: {{secrets: 1}}", 6, "services.job.stop.secrets", "unknown key; expected one of signal, grace, wait"),
    (f"{TASK}    stop: {{zz: 1}}", 6, "services.job.stop.zz", "unknown key; expected one of signal, grace, wait"),
    (f"{TASK}    before_upgrade: {{timeout: 1s}}", 6, "services.job.before_upgrade.command", "missing required key; write a command as a list, for example [bin/web, --fast]"),
    (f"{TASK}    env: {{A B: x}}", 6, "services.job.env.A B", "invalid name; expected a name without = or spaces"),
    (f"{TASK}    command: [a, ~]", 6, "services.job.command[1]", "must not be empty; write text"),
    (f"{TASK}    env: {{A: on}}", 6, "services.job.env.A", "YAML reads this as true or false; put it in quotes"),
    (f"{TASK}    env: {{A: 5}}", 6, "services.job.env.A", "YAML reads this as a number; put it in quotes"),
    (f"{TASK}    workdir: app", 6, "services.job.workdir", 'must start with "/"'),
    (f"{TASK}    init: 1", 6, "services.job.init", "must be true or false"),
    (f"{TASK}    command: [a, [b]]", 6, "services.job.command[1]", "must be text"),
    (WEB.replace("{path: /up}", "/up"), 6, "services.web.health", "must be a mapping, for example {path: /health_check}"),
    (WEB.replace("nginx: {}", "nginx: shop"), 7, "services.web.nginx", "must be a mapping, for example {upstream: shop}, or {}"),
    (f"{TASK}    env: [A=b]", 6, "services.job.env", "must be a mapping"),
    (f"{TASK}    stop: SIGTERM", 6, "services.job.stop", "must be a mapping with the keys signal, grace, wait"),
    (f"{TASK}    order: first-stop", 6, "services.job.order", "must be one of start-first, stop-first"),
    # grammar.py and model.py
    (f"{TASK}    command: bin/web", 6, "services.job.command", "must be a command as a list, for example [bin/web, --fast]"),
    (f'{TASK}    cpus: "1.5"', 6, "services.job.cpus", "must be a number of CPUs, for example 1.5, without quotes"),
    (f"{TASK}    port: 0", 6, "services.job.port", "must be a port number from 1 to 65535"),
    (f"{TASK}    publish: [1]", 6, "services.job.publish", "must be two ports, for example [21000, 21015]"),
    (f"{TASK}    stop: {{signal: SIGTREM}}", 6, "services.job.stop.signal", "must be a signal name, for example SIGTERM or SIGQUIT"),
    (f"{TASK}    labels: {{conductor.x: y}}", 6, "services.job.labels.conductor.x", 'invalid name; expected a label name that does not start with "conductor.", which is reserved'),
    (f"{TASK}    volumes: [./a:/b]", 6, "services.job.volumes[0]", "must be SOURCE:/TARGET or SOURCE:/TARGET:OPTIONS, where SOURCE is an absolute path or a volume name; OPTIONS are ro or rw, nocopy (named volumes only) or a propagation mode such as rslave (paths only), for example ro,rslave"),
    (f"{TASK}    ulimits: {{nofile: {{soft: -2, hard: 8}}}}", 6, "services.job.ulimits.nofile.soft", "must be a whole number, or -1 for no limit"),
    (f'{TASK}    tmpfs: ["/cache:size=64MiB"]', 6, "services.job.tmpfs[0]", "must be an absolute path, or one with mount options, for example /cache:size=64m,mode=1777"),
    (f"{TASK}    cap_add: [a b]", 6, "services.job.cap_add[0]", "must be letters, digits and _ . -, starting with a letter or digit, at most 128"),
    (TASK.replace("count: 0", "count: -1"), 5, "services.job.count", "must be a whole number from 0 to 1000"),
    (TASK.replace("image: shop", "image: shop:1"), 4, "services.job.image", 'must be an image name in lower case without a tag or digest, for example registry.example.com/shop (Conductor adds ":REVISION")'),
    (WEB.replace("{path: /up}", '{path: "/u p"}'), 6, "services.web.health.path", 'must be a path that starts with "/" and has no spaces'),
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: ["80;"], names: [a]}}'), 7, "services.web.nginx.server.listen[0]", 'must be a value of nginx\'s listen directive, for example "443 ssl" (no ; { } or quotes)'),
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: ["80"], names: ["a{}"]}}'), 7, "services.web.nginx.server.names[0]", "must be a host name without spaces, ; { } # or quotes"),
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: [], names: [a]}}'), 7, "services.web.nginx.server.listen", "must be a list with at least one value, for example [443 ssl]"),
    (WEB.replace("web:", "We b:"), 3, "services.We b", "invalid name; expected 1 to 63 lower-case letters, digits, _ and -, starting with a letter or digit, but not addresses or nginx"),
    (HOST + "{state_dir: /a b}", 3, "host.state_dir", "must be an absolute path of letters, digits and _ . / @ + = , : ~ -"),
    (HOST + "{docker: here}", 3, "host.docker", "must be the address of the Docker daemon: unix:///PATH or tcp://HOST:PORT"),
    ("version: 1", 1, "services", "missing required key; write a mapping of services ({} on a host without services)"),
    ("version: 1\nservices:", 2, "services", "must not be empty; write a mapping of services ({} on a host without services)"),
    ("version: 2", 1, "version", "must be 1, the only supported format"),
    (WEB.replace("{path: /up}", "{path: /up, status: [100]}"), 6, "services.web.health.status[0]", 'must be an HTTP status from 200 to 599, or a range such as "300-399"'),
    (WEB.replace("{path: /up}", "{path: /up, status: []}"), 6, "services.web.health.status", 'must be a list with at least one status, for example [200, "300-399"]'),
    (WEB.replace("{path: /up}", "{path: /up, headers: {A B: x}}"), 6, "services.web.health.headers.A B", "invalid name; expected the name of an HTTP header"),
    (WEB.replace("{path: /up}", '{path: /up, headers: {A: "x\\r\\nB: y"}}'), 6, "services.web.health.headers.A", "must be text of printable ASCII characters"),
    (f"{TASK}    devices: [/sda]", 6, "services.job.devices[0]", "must be a device as /dev/NAME, /dev/NAME:/dev/TARGET or /dev/NAME:/dev/TARGET:rwm"),
    (f"{TASK}    security_opt: [seccomp=/etc/profile.json]", 6, "services.job.security_opt[0]", "must be one of no-new-privileges, seccomp=unconfined, apparmor=PROFILE and label=OPTION"),
    (f'{TASK}    sysctls: {{vm.swappiness: "1"}}', 6, "services.job.sysctls.vm.swappiness", "invalid name; expected a setting that is separate in each container: net.*, fs.mqueue.*, kernel.msg*, kernel.sem or kernel.shm*"),
    (f"{TASK}    pids_limit: -2", 6, "services.job.pids_limit", "must be a whole number of processes, or -1 for no limit"),
    (f"{TASK}    hostname: a_b", 6, "services.job.hostname", "must be a host name of at most 63 letters, digits, - and ."),
    (f"{TASK}    networks: [host]", 6, "services.job.networks[0]", "must be the name of an existing Docker network other than host and none"),
    (f"{TASK}    networks: [{{name: none}}]", 6, "services.job.networks[0].name", "must be the name of an existing Docker network other than host and none"),
    (f"{TASK}    dns: {{search: [a b]}}", 6, "services.job.dns.search[0]", "must be a domain name"),
    (f"{TASK}    dns: {{options: [a b]}}", 6, "services.job.dns.options[0]", "must be a resolver option, for example ndots:1"),
    (f"{TASK}    volumes: [{{type: bind, source: a b, target: /x}}]", 6, "services.job.volumes[0].source", "must be an absolute path or a volume name"),
    (f"{TASK}    volumes: [{{type: bind, source: /a, target: /x, bind: {{propagation: slow}}}}]", 6, "services.job.volumes[0].bind.propagation", "must be one of shared, slave, private, rshared, rslave, rprivate"),
    # scalars.py
    (f"{TASK}    stop: {{grace: 1 hour}}", 6, "services.job.stop.grace", "must be a duration, for example 30s, 1500ms or 2m"),
    (WEB.replace("{path: /up}", "{path: /up, interval: 0}"), 6, "services.web.health.interval", "must be a duration longer than 0, for example 30s, 1500ms or 2m"),
    (f"{TASK}    stop: {{grace: 4000d}}", 6, "services.job.stop.grace", "must be at most 3650d"),
    (f"{TASK}    memory: lots", 6, "services.job.memory", "must be a size, for example 512MiB or 1GiB"),
    (f"{TASK}    memory: 9999999TiB", 6, "services.job.memory", "must be at most 1048576TiB"),
    (f"{TASK}    notify: page-me", 6, "services.job.notify", "must be a command as a list, for example [bin/web, --fast]"),
    (f"{TASK}    notify: {{webhook: hooks.example}}", 6, "services.job.notify.webhook", "must be an http:// or https:// URL without a user name, or {file: PATH} if the URL is a secret"),
    (f"{TASK}    notify: {{webhook: \"https://u:hunter2@hooks.example\"}}", 6, "services.job.notify.webhook", "must be an http:// or https:// URL without a user name, or {file: PATH} if the URL is a secret"),
    (f"{TASK}    notify: {{command: [x], on: [fail]}}", 6, "services.job.notify.on[0]", "must be one of succeeded, failed, interrupted, unhealthy, healed, backing-off"),
    # rules.py, for services
    (f"{TASK}    notify: {{timeout: 5s}}", 6, "services.job.notify", "must have a command, a webhook or both, for example {command: [/usr/local/bin/page-me]}"),
    (f"{TASK}    notify: {{command: [x], timeout: 2m}}", 6, "services.job.notify.timeout", "must be at most 60s"),
    (TASK.replace("count: 0", "count: 1"), 3, "services.job.health", "required unless count is 0; write a check, for example {path: /health_check}, or {none: true}"),
    (WEB.replace("health: {path: /up}", "count: 0"), 3, "services.web.health", "required with nginx; write a check, for example {path: /health_check}, or {none: true}"),
    (WEB.replace("{path: /up}", "{}"), 6, "services.web.health", "must have exactly one of path, command, tcp: true and none: true, but has none of them"),
    (WEB.replace("{path: /up}", "{path: /up, tcp: true}"), 6, "services.web.health", "must have exactly one of path, command, tcp: true and none: true, but has path and tcp"),
    (WEB.replace("{path: /up}", "{path: /up, stable_for: 1s}"), 6, "services.web.health.stable_for", "has no effect with health.path; remove it, or write null to drop a default"),
    (WEB.replace("port: 80", "order: stop-first"), 3, "services.web.port", "required by health.path and nginx; write the port that the app listens on"),
    (WEB.replace("port: 80", "port: 80\n    publish: [2, 1]"), 6, "services.web.publish", "must start with the lower port; write [1, 2]"),
    (WEB.replace("port: 80", "port: 80\n    publish: [21, 22]"), 6, "services.web.publish", "has 2 ports, but an upgrade with count 1 needs 3; use a larger range"),
    (f"{TASK}    memory: 512", 6, "services.job.memory", "must be at least 6MiB, Docker's minimum"),
    (f"{TASK}    shm_size: 0", 6, "services.job.shm_size", "must be larger than 0, for example 64MiB"),
    (f"{TASK}    tmpfs: [/x, /x/]", 6, "services.job.tmpfs[1]", "mounts /x a second time; remove one"),
    (f'{TASK}    tmpfs: [/x, "/x:size=1m"]', 6, "services.job.tmpfs[1]", "mounts /x a second time; remove one"),
    (f"{TASK}    ulimits: {{nofile: {{soft: 9, hard: 8}}}}", 6, "services.job.ulimits.nofile", "soft limit exceeds the hard limit; lower soft or raise hard"),
    (WEB.replace("nginx: {}", "nginx: {server: {listen: [443 ssl], names: [a]}}"), 7, "services.web.nginx.server.tls", "required because listen has ssl; write certificate and key"),
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], tls: {certificate: /a, key: /b}}}'), 7, "services.web.nginx.server.tls", 'has no effect because listen has no ssl; write, for example, listen: ["443 ssl"]'),
    (WEB.replace("{path: /up}", "{path: /up, status: 302-200}"), 6, "services.web.health.status", 'must start with the lower status; write "200-302"'),
    (WEB.replace("{path: /up}", "{path: /up, headers: {HOST: a}}"), 6, "services.web.health.headers.HOST", "Conductor sets this header itself; write host_header"),
    (WEB.replace("{path: /up}", "{path: /up, headers: {Connection: close}}"), 6, "services.web.health.headers.Connection", "Conductor sets this header itself; remove it"),
    (WEB.replace("{path: /up}", "{path: /up, headers: {X-A: a, x-a: b}}"), 6, "services.web.health.headers.X-A", "the same header is set twice; remove one"),
    (WEB.replace("{path: /up}", "{path: /up, port: 81}\n    publish: [21, 23]"), 6, "services.web.health.port", "cannot be combined with publish, which publishes only the service's port; remove it"),
    (f"{TASK}    volumes: [{{type: bind, source: name, target: /a}}]", 6, "services.job.volumes[0].source", "must be an absolute path because the type is bind"),
    (f"{TASK}    volumes: [{{type: volume, source: /a, target: /a}}]", 6, "services.job.volumes[0].source", "must be a volume name because the type is volume"),
    (f"{TASK}    volumes: [{{type: bind, source: /a, target: /a, volume: {{nocopy: true}}}}]", 6, "services.job.volumes[0].volume", "has no effect because the type is bind; remove it"),
    (f"{TASK}    volumes: [/a:/x, {{type: volume, source: data, target: /x/}}]", 6, "services.job.volumes[1]", "mounts /x a second time; remove one"),
    (f"{TASK}    order: stop-first\n    stop: {{wait: false}}", 7, "services.job.stop.wait", "must be true with order: stop-first, because the old replica must exit first; remove it"),
    (f"{TASK}    dns: {{servers: [ns.example]}}", 6, "services.job.dns.servers[0]", "must be an IP address, for example 192.0.2.53"),
    (f"{TASK}    networks: [db, {{name: db}}]", 6, "services.job.networks[1]", "lists db a second time; remove one"),
    # rules.py, for the host
    (HOST + "{notify: {on: [failed]}}", 3, "host.notify", "must have a command, a webhook or both, for example {command: [/usr/local/bin/page-me]}"),
    (HOST + "{network: {subnet: fd00::/64}}", 3, "host.network.subnet", "must be an IPv4 network, for example 10.213.0.0/20"),
    (HOST + "{network: {subnet: 10.0.0.1/24}}", 3, "host.network.subnet", "must be an IPv4 network; write 10.0.0.0/24"),
    (HOST + "{network: {subnet: 10.0.0.0/29, tasks: 10.0.0.4/30}}", 3, "host.network.subnet", "must be a /28 (16 addresses) or larger"),
    (HOST + "{network: {subnet: 127.0.0.0/24, tasks: 127.0.0.128/25}}", 3, "host.network.subnet", "must not be a loopback, multicast, link-local or reserved network"),
    (HOST + "{network: {subnet: 10.0.0.0/24}}", 3, "host.network.tasks", "must be a smaller network inside the subnet 10.0.0.0/24"),
    (HOST + "{network: {subnet: 10.0.0.0/24, tasks: 10.0.0.0/28}}", 3, "host.network.tasks", "must not contain the gateway 10.0.0.1; use a range at the end of the subnet"),
    # conflicts.py
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], ssl_redirect: true}}'), 7, "services.web.nginx.server.ssl_redirect", 'has no effect because no address in listen has ssl; write, for example, listen: ["443 ssl"]'),
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: ["*:80", 443 ssl], names: [a], tls: {certificate: /a, key: /b}, ssl_redirect: true}}'), 7, "services.web.nginx.server.ssl_redirect", 'adds its own listener on 80; remove "*:80" from listen'),
    (WEB.replace("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], acme_webroot: /var/www}}'), 7, "services.web.nginx.server.acme_webroot", "has no effect without ssl_redirect: true; add that key, or remove this one"),
    (WEB.replace("nginx: {}", "nginx: {upstream: Conductor_x}"), 7, "services.web.nginx.upstream", 'must not start with "conductor", which is reserved; use another name'),
    (TWO.format(a="{upstream: B}", b="{}"), 3, "services.a.nginx.upstream", "is also the upstream of b; use another name"),
    (TWO.format(a='{server: {listen: ["80"], names: [x]}}', b='{server: {listen: ["80"], names: [x]}}'), 4, "services.b.nginx.server", "has the same listen address and server name as a; change one of them"),
    (PORTS.format(a="[10, 12]", b="[12, 14]"), 3, "services.a.publish", "overlaps [12, 14] of b; use another range"),
    # yaml_reader.py and tree.py
    (f"{TASK}    count: 1", 6, "services.job.count", "duplicate key, first on line 5; remove one"),
    (f"{TASK}    env: {{A: 0123456}}", 6, "services.job.env.A", "YAML reads this as a number in another notation; put it in quotes"),
    (f"{TASK}    env: {{A: 2024-01-01}}", 6, "services.job.env.A", "YAML reads this as a date; put it in quotes"),
    (f"{TASK}    env: {{NO: x}}", 6, "services.job.env.NO", "YAML does not read this key as text; put it in quotes"),
    (f"{TASK}    env: {{? [a] : x}}", 6, "services.job.env", "a key must be text, not a list or a mapping; write it as one word"),
    (f"{TASK}    env: {{A: !vault x}}", 6, "services.job.env.A", "unsupported YAML tag !vault; remove the tag"),
    (f"{TASK}    env: !!omap [A: x]", 6, "services.job.env", "unsupported YAML tag !!omap; remove the tag"),
    (f"{TASK}    env: {{<<: 3}}", 6, "services.job.env.<<", "must be a mapping, for example *anchor"),
    (f'{TASK}    env: {{A: "\\0"}}', 6, "services.job.env.A", "must not contain a NUL character or an unpaired surrogate"),
    (f'{TASK}    env: {{"A\\0": x}}', 6, "services.job.env.A\0", "name must not contain a NUL character or an unpaired surrogate"),
    (f"{TASK}    env: &a {{<<: *a}}", 6, "", "nested more than 40 levels deep, or an alias that contains itself; remove levels"),
    ("version: 1\na: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]", 2, "", "more than 100000 values, counting each use of an alias; remove some"),
    ("version: 1\na: b: c", 2, "", "invalid YAML: mapping values are not allowed in this context"),
    ("version: 1\nservices:\n\ta: 1", 3, "", "invalid YAML: a tab in the indentation; indent with spaces"),
    (WEB.replace("nginx: {}", "nginx: {server: {names: [*.example.com]}}"), 7, "", "invalid YAML: while scanning an alias, did not find expected alphabetic or numeric character; put the text in quotes"),
    (f"{TASK}    volumes:\n    - *.example.com", 7, "", "invalid YAML: while scanning an alias, did not find expected alphabetic or numeric character; put the text in quotes"),
    (f"{TASK}    user: *app", 6, "", "invalid YAML: found undefined alias; put the text in quotes"),
    (f"{TASK}    volumes: [{{{{ user }}}}]", 6, "services.job.volumes[0]", "this looks like a template that was not rendered; render it, or put the text in quotes"),
    (f"{TASK}    user: @x", 6, "", "invalid YAML: while scanning for the next token, found character that cannot start any token; put the text in quotes"),
    (f"{TASK}    user: {{{{ user }}}}", 6, "services.job.user", "this looks like a template that was not rendered; render it, or put the text in quotes"),
    (f"{TASK}    user: {{{{ user }}}}/x", 6, "", "invalid YAML: this looks like a template that was not rendered; render it, or put the text in quotes"),
    (f"{TASK}<% if x %>\n", 7, "", "invalid YAML: this looks like a template that was not rendered; render it, or put the text in quotes"),
    ("version: 1\na: \x01", 2, "", "invalid YAML: the character #x0001 is not allowed; remove it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "sentence"), SENTENCES)
def test_sentences(read: Read, text: str, line: int, key: str, sentence: str) -> None:
    assert (line, key, sentence) in problems_of(read, text)


def test_a_problem_is_printed_with_its_place(read: Read) -> None:
    (problem,) = read(f'{TASK}    "\x1b[1m": x\n'.replace("\x1b", "\\e")).problems
    assert str(problem).endswith("services.yml:6: services.job.?[1m: " + problem.sentence)
    with pytest.raises(DefinitionsError) as caught:
        read("- a")
    assert caught.value.details == (f"{caught.value.problems[0].file}:1: {caught.value.problems[0].sentence}",)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("env: {A: x, A: y}", "env.A"),
        ("command: []", "command"),
        ("command: [a, {b: c}]", "command[1]"),
        ("port: true", "port"),
        ("env: {A: {file: x}}", "env.A.file"),
        ("env: {A: {path: /x}}", "env.A.path"),
        ("env: {A=B: x}", "env.A=B"),
        ("env_file: {path: x}", "env_file.path"),
        ("env_file: {secret: true}", "env_file.path"),
        ("env_file: {path: /x, secret: 1}", "env_file.secret"),
        ("env_file: [/x]", "env_file"),
        ('tmpfs: ["/x:size"]', "tmpfs[0]"),
        ('tmpfs: ["/x:mode=1777,nosize"]', "tmpfs[0]"),
        ('tmpfs: ["/x:"]', "tmpfs[0]"),
        ("env: {A: 12:30}", "env.A"),
        ("env: {A: .inf}", "env.A"),
        ("env: {A: 1_000}", "env.A"),
        ("cpus: 1:30", "cpus"),
        ("volumes: [/a:b]", "volumes[0]"),
        ("volumes: [/a:/b:nocopy]", "volumes[0]"),
        ("volumes: [a1:/b:rslave]", "volumes[0]"),
        ('volumes: ["/a:/b:ro,rw"]', "volumes[0]"),
        ("volumes: [{type: tmpfs, source: /a, target: /b}]", "volumes[0].type"),
        ("volumes: [{source: /a, target: /b}]", "volumes[0].type"),
        ("networks: [{aliases: [a]}]", "networks[0].name"),
        ('devices: ["/dev/a:/dev/b:x"]', "devices[0]"),
        ("hostname: -a", "hostname"),
        ("sysctls: {net.ipv4.ip_forward: 1}", "sysctls.net.ipv4.ip_forward"),
    ],
)
def test_an_invalid_value(read: Read, body: str, key: str) -> None:
    assert (6, f"services.job.{key}") in places(read, f"{TASK}    {body}\n")


@pytest.mark.parametrize(
    "image",
    ["shop", "shop/app", "host:5000/x", "registry.example.com/a/b-c_d.e", "localhost/x__y", "[::1]:5000/x"],
)
def test_valid_images(read: Read, image: str) -> None:
    assert not places(read, TASK.replace("image: shop", f'image: "{image}"'))


@pytest.mark.parametrize(
    "image", ["shop:1", "host:5000/x:1", "x@sha256:0", "Shop", "a//b", "", "a b", "x\\n", "/x", "-x"]
)
def test_invalid_images(read: Read, image: str) -> None:
    assert places(read, TASK.replace("image: shop", f'image: "{image}"')) == [(4, "services.job.image")]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("{path: /up}", "{path: /up, tcp: false}", []),
        ("{path: /up}", "{none: true, successes: 1}", [(6, "health.successes")]),
        ("{path: /up}", "{none: true, stable_for: 1s}", []),
        ("{path: /up}", "{tcp: true, port: 81}", []),
        ("{path: /up}", "{path: /up, port: 80}\n    publish: [21, 23]", [(6, "health.port")]),
        ("{path: /up}", "{tcp: true, status: 200}", [(6, "health.status")]),
        ("{path: /up}", "{tcp: true, headers: {A: b}}", [(6, "health.headers")]),
        ("{path: /up}", "{command: [x], port: 81}", [(6, "health.port")]),
        ("{path: /up}", "{command: [x], host_header: y}", [(6, "health.host_header")]),
        ("{path: /up}", "{command: [x]}", []),
        ("{path: /up}", "{path: up}", [(6, "health.path")]),
        ("{path: /up}", '{path: "/up\\n"}', [(6, "health.path")]),
        ("port: 80", "port: 80\n    order: stop-first", []),
        ("health: {path: /up}", "count: 0", [(3, "health")]),
        ("port: 80", "port: 80\n    publish: [21, 23]", []),
        ("nginx: {}", "nginx: {drain: 0s}", [(7, "nginx.drain")]),
        ("nginx: {}", "nginx: {balance: most, slow_start: 0}", [(7, "nginx.balance"), (7, "nginx.slow_start")]),
        ("nginx: {}", "nginx: {}\n    canary: {share: 10%, for: 5m, max_errors: 1%, max_latency: 1.5}", []),
        ("nginx: {}", "nginx: {}\n    canary: {share: 0%}", [(8, "canary.share")]),
        ("nginx: {}", "nginx: {}\n    canary: {for: 0s, max_latency: 0.5}", [(8, "canary.for"), (8, "canary.max_latency")]),
        ("nginx: {}", "nginx: {}\n    order: stop-first\n    canary: {}", [(9, "canary")]),
        ("    nginx: {}", "    canary: {}", [(7, "canary")]),
        ("nginx: {}", "nginx: {upstream: a;b}", [(7, "nginx.upstream")]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], response_timeout: 0}}', [(7, "nginx.server.response_timeout")]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], request_timeout: x}}', [(7, "nginx.server.request_timeout")]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: [a], buffering: "off"}}', [(7, "nginx.server.buffering")]),
        ("nginx: {}", 'nginx: {server: {listen: [443 ssl, "10.0.0.1:80"], names: [a], tls: {certificate: /a, key: /b}, ssl_redirect: true, acme_webroot: "/a b"}}', [(7, "nginx.server.acme_webroot")]),
        ("nginx: {}", 'nginx: {server: {listen: ["80\\n"], names: [a]}}', [(7, "nginx.server.listen[0]")]),
        ("nginx: {}", "nginx: {server: {listen: [\"80\"], names: ['a\\']}}", [(7, "nginx.server.names[0]")]),
        ("nginx: {}", 'nginx: {server: {listen: ["80"], names: [_, "*.a.example", "~^x\\\\d+$"], template: /a$b}}', [(7, "nginx.server.template")]),
    ],
)  # fmt: skip
def test_a_web_service(read: Read, old: str, new: str, found: list[tuple[int, str]]) -> None:
    assert places(read, WEB.replace(old, new)) == [(line, f"services.web.{key}") for line, key in found]


@pytest.mark.parametrize(
    "body",
    [
        "port: null\n    nginx: null\n    health: {path: /up, port: 81}",
        "health: {path: /up, status: 302}",
        'health: {path: /up, status: [200, "300-399"]}',
        "health: {path: /up, headers: {Authorization: {file: /x}, A: ''}}",
        "volumes: ['/a:/b:ro,rslave', /c:/d:private, 'data:/e:rw,nocopy', cache:/f]",
        "devices: [/dev/a, /dev/b:rw, /dev/snd/c:/dev/d, /dev/e:/dev/f:r]",
        'security_opt: [no-new-privileges:true, "apparmor:docker-default", label=disable, seccomp=unconfined]',
        'sysctls: {net.ipv4.ip_local_port_range: 1024 65000, kernel.shmmax: "1", net.ipv4.conf.all.rp_filter: "0"}',
        "hostname: a.b-c\n    dns: {servers: [192.0.2.1, '2001:db8::1'], search: [.], options: [rotate, 'ndots:1']}",
        "networks: [a, {name: b}, {name: c, aliases: [d, e.f]}]",
    ],
)
def test_valid_keys_of_containers_and_checks(read: Read, body: str) -> None:
    text = f"version: 1\ndefaults: {{port: 80, nginx: {{}}, health: {{path: /}}}}\nservices:\n  web:\n    image: a\n    {body}"
    assert problems_of(read, text) == []


def test_all_problems_are_reported_once(read: Read) -> None:
    text = """\
version: 1
defaults:
  stop: {signal: TERM}
  memory: 1MiB
services:
  a: {image: "a:1", count: "2", health: {path: up, tcp: true}, publish: [9, 8]}
  b: {image: b, count: 0, memory: null}
  c:
"""
    assert places(read, text) == [
        (3, "defaults.stop.signal"),
        (4, "defaults.memory"),
        (6, "services.a.image"),
        (6, "services.a.count"),
        (6, "services.a.health.path"),
        (8, "services.c"),
    ]
    assert read(text).ids == ("a", "b", "c")
    assert not read(text).services


def test_a_default_that_breaks_a_rule_is_reported_for_the_service_at_the_line_of_the_default(read: Read) -> None:
    text = """\
version: 1
defaults:
  health: {interval: 3s}
services:
  a: {image: a, port: 80, health: {path: /}}
  b: {image: b, health: {none: true}}
  c: {image: b, health: {none: true, interval: null}}
"""
    assert places(read, text) == [(3, "services.b.health.interval")]
    assert list(read(text).services) == ["a", "c"]


@pytest.mark.parametrize(
    ("a", "b", "key"),
    [
        ("{upstream: B}", "{}", "upstream"),
        ("{upstream: x}", "{upstream: X}", "upstream"),
        (
            '{server: {listen: ["80", "8080"], names: [x, y]}}',
            '{server: {listen: ["*:80 http2"], names: [Y]}}',
            "server",
        ),
        (
            '{server: {listen: ["80"], names: [x]}}',
            "{server: {listen: [443 ssl], names: [x], tls: {certificate: /a, key: /b}, ssl_redirect: true}}",
            "server",
        ),
    ],
)
def test_a_conflict_breaks_both_services(read: Read, a: str, b: str, key: str) -> None:
    text = TWO.format(a=a, b=b)
    assert places(read, text) == [(3, f"services.a.nginx.{key}"), (4, f"services.b.nginx.{key}")]
    assert list(read(text).services) == ["c"]


@pytest.mark.parametrize(
    ("a", "b", "broken"),
    [
        ("[10, 12]", "[10, 12]", ["a", "b"]),
        ("[10, 12]", "[12, 14]", ["a", "b"]),
        ("[10, 20]", "[13, 15]", ["a", "b"]),
        ("[10, 12]", "[98, 100]", ["b", "c"]),
        ("[99, 101]", "[90, 101]", ["a", "b", "c"]),
        ("[10, 12]", "[13, 15]", []),
    ],
)
def test_published_ranges_do_not_overlap(read: Read, a: str, b: str, broken: list[str]) -> None:
    definitions = read(PORTS.format(a=a, b=b))
    assert sorted(definitions.broken) == broken
    assert {problem.key for problem in definitions.problems} == {f"services.{name}.publish" for name in broken}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("{upstream: x}", "{upstream: y}"),
        ('{server: {listen: ["80"], names: [x]}}', '{server: {listen: ["80"], names: [y]}}'),
        ('{server: {listen: ["80"], names: [x]}}', '{server: {listen: ["81"], names: [x]}}'),
        ('{server: {listen: ["80", "80"], names: [x, x]}}', "{}"),
    ],
)
def test_no_conflict(read: Read, a: str, b: str) -> None:
    assert not places(read, TWO.format(a=a, b=b))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("{instanc: x}", "host.instanc"),
        ("{supervise: {drift: maybe}}", "host.supervise.drift"),
        ("{docker: ssh://root@app1}", "host.docker"),
        ("{docker: 'npipe:////./pipe/docker_engine'}", "host.docker"),
        ("{docker: 'https://app1:2376'}", "host.docker"),  # conductor run does not support it
        ("{docker: tcp://app1}", "host.docker"),
        ("{docker: unix://docker.sock}", "host.docker"),
        ("{nginx: {longest_connection: 0}}", "host.nginx.longest_connection"),
        ("{network: {subnet: 10.0.0.0/33}}", "host.network.subnet"),
        ("{network: {subnet: 10.0.0.0/24, tasks: 10.0.0.0/24}}", "host.network.tasks"),
        ("7", "host"),
    ],
)
def test_a_broken_host_breaks_the_file(read: Read, host: str, key: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        read(HOST + host)
    assert caught.value.exit_code == 2
    assert (3, key) in [(problem.line, problem.key) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "docker", ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375", "http://app1:2375"]
)
def test_addresses_of_docker(read: Read, docker: str) -> None:
    assert read(f"{HOST}{{docker: '{docker}'}}").host.docker == docker


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("", 1, ""),
        ("[]", 1, ""),
        ("services: {}", 1, "version"),
        ('version: "1"', 1, "version"),
        ("version: true", 1, "version"),
        ("version: 1\n---\nversion: 1", 2, ""),
        ("version: 1\na: *b", 2, ""),
        ("version: 1 # é\na: 'b", 2, ""),
        (f"{TASK}    keep_me: &a [*a]", 6, ""),
        ("- " * 5000, 1, ""),
    ],
)
def test_a_file_that_is_broken_as_a_whole(read: Read, text: str, line: int, key: str) -> None:
    with pytest.raises(DefinitionsError) as caught:
        read(text)
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [(line, key)]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (TASK.replace("services:", "servces:"), [(1, "services"), (2, "servces")]),
        ("versio: 1\nservces: {}", [(1, "versio"), (1, "version"), (1, "services"), (2, "servces")]),
        ("version: 2\nhots: {}\nservices: {}", [(1, "version")]),
        ("version: 1\nservices: []", [(2, "services")]),
        ("version: 1\nservices:", [(2, "services")]),
        ("version: 1\nservices: ~", [(2, "services")]),
        ("version: 1\nservices: none", [(2, "services")]),
        ("version: 1\nhost:\n  instance: x\n", [(1, "services")]),
        ("version: 1\nhost:", [(1, "services")]),
        (f"{TASK}service: {{}}", [(6, "service")]),
        (f"{TASK}services: {{}}", [(6, "services")]),
        (f"{TASK}  <<: 3", [(6, "services.<<")]),
        (f"{TASK}  ? [a]\n  : {{image: x, count: 0}}", [(6, "services")]),
    ],
)
def test_services_may_be_missing_from_a_file_that_is_broken_as_a_whole(
    read: Read, text: str, places: list[tuple[int, str]]
) -> None:
    """Such a file is never read as one with fewer services: they would be stopped with `undefined: stop`."""
    with pytest.raises(DefinitionsError) as caught:
        read(text)
    found = [(problem.line, problem.key) for problem in caught.value.problems]
    assert [place for place in found if not place[1].startswith("services.?")] == places


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_bytes(b"version: 1\nservices: {}  # caf\xe9\n")
    with pytest.raises(DefinitionsError) as caught:
        load(path)
    assert caught.value.details == (f"{path}:2: not valid UTF-8; save the file as UTF-8",)
    path.write_bytes("\ufeffversion: 1\nservices: {}  # café\n".encode())
    assert load(path).ids == ()


@pytest.mark.parametrize(
    ("text", "service", "hint"),
    [
        (WEB, "wep", "did you mean web?"),
        (WEB, "basket", "define it there, or use one of: web"),
        ("version: 1\nservices: {}", "web", "define it there, or use one of: (none)"),
    ],
)
def test_an_unknown_service(read: Read, text: str, service: str, hint: str) -> None:
    definitions = read(text)
    for refused in (definitions.service, definitions.require_known):
        with pytest.raises(UsageError) as caught:
            refused(service)
        assert caught.value.sentence == f'cannot find service "{service}": it is not in {definitions.path}'
        assert caught.value.hint == hint
    definitions.require_known(service, also=[service])


def test_a_broken_service_does_not_break_another(read: Read) -> None:
    definitions = read(WEB + "  other: {image: x, cont: 2, health: {none: true}}\n  third: {image: y, count: 0}\n")
    assert definitions.service("web").service.port == 80
    assert definitions.service("third").service.count == 0
    with pytest.raises(DefinitionsError) as caught:
        definitions.service("other")
    assert [problem.key for problem in caught.value.problems] == ["services.other.cont"]
    assert caught.value.sentence == 'cannot use service "other": 1 problem'
    definitions.require_known("other")
