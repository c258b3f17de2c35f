"""What the cookbook puts on a host, put there without Chef: definitions, nginx's include, units, and what they need."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support.fleet import add_user
from tests.support.host import merged
from tests.support.images import APP
from tests.support.machine import Machine

INCLUDE = "include /etc/nginx/conductor.d/*.conf;\n"
# nginx binds sockets there, and its workers look for the flag there, so it has to be before nginx starts.
TMPFILES = """\
d /run/conductor               0755 root root -
d /run/conductor/nginx         0755 root root -
d /run/conductor/nginx/private 0700 root root -
"""
# A killed nginx leaves its unix sockets, and what is left stops its next start.
NGINX_DROP_IN = """\
[Service]
ExecStartPre=-/bin/rm -f /run/conductor/nginx/private/status.sock /run/conductor/nginx/unavailable.sock
"""
# sudo matches all arguments, joined by blanks, with one expression; what people type has this order (README).
SUDOERS = """\
Defaults:deploy !requiretty, env_reset
deploy ALL=(root) NOPASSWD: /usr/local/bin/conductor ^service upgrade( --id [a-z0-9][a-z0-9_-]{0\\,62})+ --revision [0-9a-f]{40}$
"""
CONFIG = "/etc/conductor/services.yml"


def service(name: str, listen: int, /, **over: Any) -> dict[str, Any]:
    """The fixture app behind a server block of Conductor's on a port of its own, which says its name."""
    return merged(
        {
            "image": APP,
            "count": 2,
            "env": {"SERVICE": name, "BOOT": "0.2"},
            "port": 8080,
            "health": {
                "path": "/health",
                "interval": "1s",
                "gate_interval": "100ms",
                "timeout": "2s",
                "start_timeout": "20s",
            },
            "nginx": {"drain": "10s", "server": {"listen": [str(listen)], "names": ["_"]}},
            "stop": {"grace": "3s"},
        },
        over,
    )


def define(machine: Machine, services: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
    """Write the definitions file."""
    document = {"version": 1, **more, "services": services}
    machine.put(CONFIG, json.dumps(document, indent=2), 0o640)


def converge(machine: Machine, services: Mapping[str, Mapping[str, Any]]) -> None:
    """All that a first run of the cookbook does on a bare host, except that the definitions come from `services`."""
    machine.install_conductor()
    define(machine, services)
    machine.run("conductor", "config", "check")
    machine.put("/etc/nginx/conf.d/conductor.conf", INCLUDE)
    machine.put("/usr/lib/tmpfiles.d/conductor.conf", TMPFILES)
    machine.run("systemd-tmpfiles", "--create", "conductor.conf")
    machine.run("mkdir", "-p", "/etc/nginx/conductor.d")
    machine.run("conductor", "nginx", "install")
    machine.put("/etc/systemd/system/nginx.service.d/conductor.conf", NGINX_DROP_IN)
    unit = machine.run("conductor", "supervise", "--print-unit").stdout
    machine.put("/etc/systemd/system/conductor-supervise.service", unit)
    add_user(machine, "deploy")
    machine.put("/etc/sudoers.d/conductor", SUDOERS, 0o440)
    machine.run("visudo", "--check", "--quiet")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "enable", "--now", "conductor-supervise")
