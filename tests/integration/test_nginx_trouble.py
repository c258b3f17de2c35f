"""nginx that is down, broken by somebody else's file, or takes a reload and does not apply it."""

import contextlib
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged

STILL = "\n  web is still running r1 with 1 replica\n"


@contextlib.contextmanager
def other_file(host: TestHost, name: str, text: str) -> Iterator[str]:
    """Add a file of the operator beside those of Conductor."""
    path = host.nginx.add_server(name, text)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def nothing_was_started(host: TestHost, told: str) -> None:
    """Check that no container was created before the refusal."""
    assert "start  " not in told
    assert {c.revision for c in host.containers()} == {"r1"}
    assert host.journal() is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server { lisen 80; }\n", 'unknown directive "lisen" in {path}:1'),
        ("server {\n  listen 127.0.0.1:1;\n", 'unexpected end of file, expecting "}}" in {path}:3'),
        ("upstream web { server 127.0.0.1:1; }\n", 'duplicate upstream "web" in '),
        ("include /nonexistent/tls.conf;\n", 'open() "/nonexistent/tls.conf" failed (2: No such file or directory) in {path}:1'),
    ],
    ids=["a wrong word", "an open brace", "our upstream", "a missing file"],
)  # fmt: skip
def test_a_tree_that_another_file_broke(serving: TestHost, text: str, why: str) -> None:
    with other_file(serving, "other", text) as path:
        told = failed(
            serving.upgrade("r2"), 1, f"cannot upgrade web: nginx rejects its configuration: {why.format(path=path)}",
            f"{path}:", "fix the file that nginx names", STILL,
        )  # fmt: skip
        nothing_was_started(serving, told)
    nothing_left_behind(serving, "r1")


def test_nginx_does_not_run(serving: TestHost) -> None:
    serving.nginx.stop()
    told = failed(
        serving.upgrade("r2"), 1,
        f"cannot upgrade web: nginx is not running: {serving.nginx.pid_file} does not contain the pid of a running nginx master",
        "systemctl start nginx", STILL,
    )  # fmt: skip
    nothing_was_started(serving, told)
    assert not serving.nginx.pid_file.exists()  # an empty one would break later reloads
    serving.nginx.start()
    nothing_left_behind(serving, "r1")


def test_nginx_runs_and_does_not_answer(serving: TestHost) -> None:
    workers = serving.nginx.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        status = json.loads(serving.conductor("service", "status", "--json", check=True).stdout)
        findings = json.loads(serving.conductor("doctor", "--json").stdout)["findings"]
        listed = serving.conductor("service", "list", check=True).stdout
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    assert status["nginx"] == "not-answering"
    assert {one["check"] for one in findings} & {"nginx-down", "nginx-not-loaded", "nginx-not-answering"} == {
        "nginx-not-answering"
    }
    assert "nginx is not responding" in listed


def test_nginx_is_not_installed(serving: TestHost) -> None:
    serving.define({"web": QUICK}, host_extra={"nginx": {"binary": "/nonexistent/nginx"}})
    told = failed(
        serving.upgrade("r2"),
        1,
        "cannot find nginx: /nonexistent/nginx does not exist",
        "apt-get install nginx-light",
        STILL,
    )
    nothing_was_started(serving, told)
    nothing_left_behind(serving, "r1")


def test_nginx_does_not_include_the_directory(host: TestHost) -> None:
    line = f"include {host.nginx.include_dir}/*.conf;"
    text = host.nginx.config.read_text()
    assert line in text
    host.nginx.config.write_text(text.replace(line, ""))
    host.define({"web": QUICK})
    failed(
        host.upgrade("r1"), 1,
        f"cannot upgrade web: cannot use nginx: {host.nginx.config} does not include {host.nginx.include_dir}/*.conf",
        f"add inside its http {{}}:  {line}", "web has never been deployed on this host and is not running",
    )  # fmt: skip
    includes = [f"include {host.nginx.include_dir}/{name};" for name in ("server.inc", "location.inc")]
    server = f"server {{ listen 127.0.0.1:{host.port('shop')}; {includes[0]} location / {{ {includes[1]} }} }}\n"
    with other_file(host, "own", server):
        failed(
            host.upgrade("r1"), 1, f"nginx rejects its configuration: nothing includes {host.nginx.include_dir}/*.conf\n",
            f"add this line once inside http {{}}:  {line}\n",
        )  # fmt: skip
    nothing_left_behind(host, None)
    assert host.daemon.networks() == []


# A reload that is accepted and not applied: nginx's own test binds nothing.


def test_a_port_of_our_server_block_that_another_program_has(serving: TestHost) -> None:
    """The rollback reloads nginx with the old files, which it loads."""
    port = serving.port("taken")
    with socket.create_server(("127.0.0.1", port)):
        listen = [f"127.0.0.1:{serving.port()}", f"127.0.0.1:{port}"]
        serving.define({"web": merged(QUICK, {"nginx": {"server": {"listen": listen}}})})
        told = failed(
            serving.upgrade("r2"), 1, "cannot upgrade web: cannot verify that nginx loaded the new configuration",
            f"bind() to 127.0.0.1:{port} failed (98: Address already in use)", "roll back the upgrade of web", STILL,
        )  # fmt: skip
        assert "the rollback failed" not in told
        nothing_left_behind(serving, "r1")
    assert str(port) not in (serving.nginx.include_dir / "web.conf").read_text()


def test_a_port_of_the_operators_that_another_program_has(serving: TestHost) -> None:
    """nginx loads nothing while the port is taken, so the rollback fails too: both releases stay, r1 serves, and once the
    port is free the next command finishes the rollback."""
    port = serving.port("taken")
    with (
        socket.create_server(("127.0.0.1", port)),
        other_file(serving, "other", f"server {{ listen 127.0.0.1:{port}; return 204; }}\n"),
    ):
        failed(
            serving.upgrade("r2"), 1, "cannot upgrade web: cannot verify that nginx loaded the new configuration",
            "then the rollback failed: cannot undo the cutover of web: ",
            f"bind() to 127.0.0.1:{port} failed (98: Address already in use)",
            "old and new replicas both keep running until the cutover is undone",
            "the next command on this service will finish the rollback", STILL,
        )  # fmt: skip
        assert (serving.get().revision, serving.revisions()) == ("r1", ["r1", "r2"])
        status = serving.conductor("service", "status", "--json", check=True)
        kinds = [note["kind"] for row in json.loads(status.stdout)["services"] for note in row["notes"]]
        assert "interrupted" in kinds
    serving.upgrade("r3", check=True)
    assert ("r2", "recovered-rolled-back") in [(entry["to"], entry["outcome"]) for entry in serving.history()]
    nothing_left_behind(serving, "r3")


def test_another_server_block_that_takes_all_requests(serving: TestHost) -> None:
    """nginx warns and exits with 0. Read first, the other block answers; the upgrade would change nothing for clients."""
    port = serving.port()
    other = serving.nginx.include_dir / "0-other.conf"
    other.write_text(f"server {{ listen 127.0.0.1:{port}; server_name localhost; return 204; }}\n")
    try:
        told = failed(
            serving.upgrade("r2"), 1, "cannot upgrade web: no requests reach web\n",
            f"requests for localhost on 127.0.0.1:{port} do not reach web", "remove the names from the other", STILL,
        )  # fmt: skip
        assert "the rollback failed" not in told
    finally:
        other.unlink()
        before = serving.nginx.workers()
        serving.nginx.reload()
        serving.wait_for(lambda: (now := serving.nginx.workers()) and not now & before, "nginx to reload")
    nothing_left_behind(serving, "r1")


# The operator's own server block.


def test_an_operators_block_for_a_service_that_never_ran(host: TestHost) -> None:
    """Without its upstream nginx refuses the configuration, and the hint names the fix; with it, nginx returns 503."""
    port = host.port("shop")
    block = f"server {{\n  listen 127.0.0.1:{port};\n  location / {{ proxy_pass http://shop; }}\n}}\n"
    host.define({"web": QUICK, "shop": merged(QUICK, {"nginx": {"server": None}})})
    host.nginx.add_server("own", block)
    path = host.nginx.servers_dir / "own.conf"
    told = failed(
        host.upgrade("r1"), 1,
        f'cannot upgrade web: nginx rejects its configuration: host not found in upstream "shop" in {path}:3',
        "conductor nginx install", "web has never been deployed on this host and is not running",
    )  # fmt: skip
    assert "start  " not in told
    nothing_left_behind(host, None)

    assert "shop.conf" in host.conductor("nginx", "install", check=True).stderr
    host.wait_for(lambda: status_of(port) == 503, "the reload of nginx install")
    host.upgrade("r1", check=True)
    assert status_of(port) == 503
    host.upgrade("r1", "shop", check=True)
    assert status_of(port) == 200
    nothing_left_behind(host, "r1")


@pytest.mark.parametrize(
    ("server", "location", "missing", "where"),
    [
        (True, False, "no location includes {}/location.inc", "make this the first line of each location that passes requests to a service"),
        (False, True, "no server block includes {}/server.inc", "add this line to each server block that passes requests to a service"),
    ],
    ids=["server.inc alone", "location.inc alone"],
)  # fmt: skip
def test_an_operators_block_without_one_of_the_includes(
    host: TestHost, server: bool, location: bool, missing: str, where: str
) -> None:
    """nginx only reports that a variable is unknown, and names no file."""
    host.define({"shop": {**QUICK, "nginx": {"server": None}}})
    directory = host.nginx.include_dir
    lines = {name: f"include {directory}/{name};" for name in ("server.inc", "location.inc")}
    host.nginx.add_server(
        "own",
        f"server {{\n  listen 127.0.0.1:{host.port('shop')};\n  {lines['server.inc'] if server else ''}\n"
        f"  location / {{\n    {lines['location.inc'] if location else ''}\n"
        "    proxy_pass http://shop$request_uri;\n  }\n}\n",
    )
    line = lines["server.inc" if location else "location.inc"]
    told = (f"nginx rejects its configuration: {missing.format(directory)}\n", f"{where}:  {line}\n")
    failed(host.upgrade("r1", "shop"), 1, *told)
    refused = host.conductor("nginx", "install").expect(1).stderr
    assert all(words in refused for words in told)
    nothing_left_behind(host, None)


def test_an_operators_block_without_one_of_the_includes_beside_a_complete_one(host: TestHost) -> None:
    """nginx accepts it, because its variables belong to all server blocks."""
    host.define({"web": QUICK, "shop": {**QUICK, "nginx": {"server": None}}})
    include = f"include {host.nginx.include_dir}/"
    port = host.port("own")
    block = f"server {{ listen 127.0.0.1:{port}; {include}server.inc; location / {{ proxy_pass http://shop$request_uri; }} }}"
    host.upgrade("r1", check=True)
    host.nginx.add_server("own", block)
    told = host.upgrade("r1", "shop", check=True).stderr
    assert "warning: shop may lose requests during a reload: " in told
    assert f"  {include}location.inc;\n" in told
    assert "shop may lose requests" in host.conductor("nginx", "install", check=True).stderr
    assert status_of(port) == 200


def test_the_service_itself_needs_no_install(host: TestHost) -> None:
    port = host.port("shop")
    host.define({"shop": merged(QUICK, {"nginx": {"server": None}})})
    host.nginx.add_server("own", f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://shop; }} }}\n")
    host.upgrade("r1", "shop", check=True)
    assert status_of(port) == 200


def status_of(port: int) -> int:
    """Return the status of one answer; 0 while no process listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.suppress(ConnectionRefusedError), contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status
    time.sleep(0.05)
    return 0
