"""nginx's files as text: upstreams, server blocks, and the generation that equal bytes have in common."""

import html
import shlex
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from conductor.definitions.host import Host, HostNginx
from conductor.definitions.model import Definition, Nginx, Server, Service, Tls
from conductor.definitions.scalars import Period
from conductor.errors import ConductorError, UsageError
from conductor.plan.release import Maintenance
from conductor.plan.route import Route
from conductor.state.locks import Locks
from conductor.traffic import grammar
from conductor.traffic.port import ManagedFile
from conductor.traffic.reload.installed_files import NGINX_UNIT, TMPFILES
from conductor.traffic.reload.record import Record, Version, digest
from conductor.traffic.reload.reload import ReloadTraffic
from conductor.traffic.reload.warnings import reboot_warnings
from conductor.traffic.render import HEADER, OWN_FILE, Renderer, file_name
from tests.fakes.runtime import FakeCancellation, FakeClock

RENDERER = Renderer(Host())


def route(endpoints: tuple[str, ...] = (), server: Server | None = None) -> Route:
    service = Service(image="app", port=80, nginx=Nginx(upstream="shop", server=server))
    return Route(Definition(id="web", service=service, written={}, digest="d"), endpoints)


def candidate(present: dict[str, str], *endpoints: str) -> dict[str, str]:
    """Return the files after a switch of `web` to `endpoints`."""
    return RENDERER.candidate(present, {file_name("web"): RENDERER.route(route(endpoints))})


def test_an_upstream_has_one_line_for_each_endpoint() -> None:
    text = RENDERER.route(route(("10.0.0.2:80", "10.0.0.3:80")))
    assert text.startswith(HEADER)
    assert RENDERER.route(route(("10.0.0.3:80", "10.0.0.2:80"))) == text
    assert "upstream shop {\n    server 10.0.0.2:80 max_fails=0;\n    server 10.0.0.3:80 max_fails=0;\n" in text
    assert "server {" not in text


def test_without_endpoints_the_upstream_is_the_server_that_answers_503() -> None:
    assert f"server unix:{RENDERER.unavailable} max_fails=0;" in RENDERER.route(route())


def maintained(message: str, template: str | None = None) -> Route:
    maintenance = Maintenance(reason=message, who="ada", since="2026-01-01T00:00:00Z", template=template)
    return msgspec.structs.replace(route(("10.0.0.3:80", "10.0.0.2:80")), maintenance=maintenance)


def page_of(text: str) -> str:
    """Return the page as nginx puts it together from the `set` directives."""
    parts = [one for one in grammar.everywhere(f"# configuration file /x:\n{text}") if one.name == "set"]
    assert {one.arguments[0] for one in parts} == {"$conductor_page"}
    assert all(one.arguments[1].startswith("${conductor_page}") for one in parts[1:])
    return "".join(one.arguments[1].removeprefix("${conductor_page}") for one in parts)


def test_in_maintenance_the_upstream_is_a_server_that_answers_503() -> None:
    text = RENDERER.route(maintained("Back at noon."))
    socket_path = f"unix:{RENDERER.runtime}/web.maintenance.sock"
    assert f"upstream shop {{\n    server {socket_path} max_fails=0;\n" in text
    assert f"    server unix:{RENDERER.unavailable} max_fails=0 backup;\n" in text
    assert f"    listen {socket_path};\n" in text
    assert "add_header Retry-After 60 always;" in text
    assert "<p>Back at noon.</p>" in page_of(text)
    assert "geo" not in text


def test_in_maintenance_the_endpoints_change_the_text_and_are_in_no_directive() -> None:
    """So that old workers, which may know them, are drained as always."""
    first = maintained("x")
    second = msgspec.structs.replace(first, endpoints=("10.0.0.4:80",))
    assert RENDERER.route(first) != RENDERER.route(second)
    words = [one.arguments for one in grammar.everywhere(RENDERER.route(first))]
    assert not any("10.0.0." in argument for arguments in words for argument in arguments)
    assert RENDERER.route(msgspec.structs.replace(first, endpoints=first.endpoints[::-1])) == RENDERER.route(first)


HOSTILE = """<b> & "quotes" 'single' \\ \\" $host ${host} ; } # { ü \u2028 </p>"""


def test_a_message_is_text_in_the_page_and_in_nginx() -> None:
    text = RENDERER.route(maintained(HOSTILE))
    assert text.isascii()
    page = page_of(text).replace("${conductor_dollar}", "$")
    assert "<b>" not in page
    assert html.unescape(page.partition("<p>")[2].partition("</p>")[0]) == HOSTILE
    assert 'geo $conductor_dollar { default "$"; }' in text


def test_an_own_page_is_a_template_that_escapes_the_message() -> None:
    script = "<script>const $x = `${1}\\n`;</script>"
    text = RENDERER.route(maintained("<b>", script + "<p>{{ message }} {{ service }}</p>\n" + "x" * 5000))
    page = page_of(text).replace("${conductor_dollar}", "$")
    assert page == script + "<p>&lt;b&gt; web</p>\n" + "x" * 5000
    lengths = [len(word) for one in grammar.everywhere(text) for word in one.arguments]
    assert max(lengths) < 4096, "nginx's limit of one word"


def test_the_longest_word_of_a_page_is_within_the_limit_of_nginx() -> None:
    text = RENDERER.route(maintained("x", "$" * 1000))
    assert max(map(len, text.splitlines())) < 4096
    assert page_of(text) == "${conductor_dollar}" * 1000


@pytest.mark.parametrize("template", ["{{ unknown }}", "{% if %}", "x" * (2**16 + 1)], ids=["name", "syntax", "long"])
def test_a_page_that_cannot_be_used_is_an_error_with_the_service(template: str) -> None:
    with pytest.raises(UsageError) as failed:
        RENDERER.route(maintained("x", template))
    assert "maintenance page for web" in failed.value.sentence


def test_a_server_block() -> None:
    text = RENDERER.route(route((), Server(listen=("80",), names=("a.example", "b.example"))))
    for part in (
        "listen 80;",
        "server_name a.example b.example;",
        "proxy_pass http://shop$request_uri;",
        "client_header_timeout 24000ms;",
    ):
        assert part in text
    assert text.index("location.inc") < text.index("proxy_pass")


def test_timeouts_and_buffering_are_written_only_if_they_are_set() -> None:
    plain = Server(listen=("80",), names=("x",))
    text = RENDERER.route(route((), plain))
    assert not any(word in text for word in ("proxy_read_timeout", "proxy_send_timeout", "buffering"))
    timed = msgspec.structs.replace(plain, response_timeout=Period(3600), request_timeout=Period(0.0005))
    changed = RENDERER.route(route((), msgspec.structs.replace(timed, buffering=False)))
    for line in (
        "proxy_read_timeout 3600000ms;",
        "proxy_send_timeout 1ms;",
        "proxy_buffering off;",
        "proxy_request_buffering off;",
    ):
        assert f"\n        {line}\n" in changed
    assert "buffering" not in RENDERER.route(route((), timed))


def test_a_redirect_is_a_server_block_of_its_own_on_port_80() -> None:
    tls = Tls(certificate="/c", key="/k")
    server = Server(listen=("443 ssl", "[::]:443 ssl"), names=("a.example", "b.example"), tls=tls)
    assert ":80" not in RENDERER.route(route((), server))
    text = RENDERER.route(route((), msgspec.structs.replace(server, ssl_redirect=True)))
    _, own, redirect = text.split("server {\n")
    assert "proxy_pass" in own
    assert redirect.startswith("    listen 80;\n    listen [::]:80;\n    server_name a.example b.example;\n")
    assert redirect.index("location.inc") < redirect.index("return 308 https://$host$request_uri;")
    assert "server.inc" in redirect
    assert not any(word in redirect for word in ("ssl", "acme", "proxy_pass"))


@pytest.mark.parametrize(
    ("listen", "target"),
    [(("8443 ssl",), "$host:8443$"), (("8443 ssl", "443 ssl"), "$host$"), (("8080", "9443 ssl"), "$host:9443$")],
)
def test_a_redirect_names_a_port_other_than_443(listen: tuple[str, ...], target: str) -> None:
    server = Server(listen=listen, names=("x",), tls=Tls(certificate="/c", key="/k"), ssl_redirect=True)
    assert f"return 308 https://{target}request_uri;" in RENDERER.route(route((), server))


def test_challenges_of_a_certificate_are_served_on_port_80(tmp_path: Path) -> None:
    """Also beside an operator's own template, which replaces only the block with TLS."""
    template = tmp_path / "server.j2"
    template.write_text("# own\n")
    server = Server(
        listen=("443 ssl",), names=("x",), tls=Tls(certificate="/c", key="/k"), ssl_redirect=True,
        acme_webroot="/var/www/acme", template=str(template),
    )  # fmt: skip
    text = RENDERER.route(route((), server))
    assert "# own\n" in text
    challenge = text.partition("location ^~ /.well-known/acme-challenge/ {")[2].partition("}")[0]
    assert 'root "/var/www/acme";' in challenge


def test_a_server_block_from_a_template(tmp_path: Path) -> None:
    template = tmp_path / "server.j2"
    template.write_text("# {{ service }} {{ upstream }}\n")
    assert RENDERER.route(route((), Server(listen=("80",), names=("x",), template=str(template)))).endswith(
        "# web shop\n"
    )


def test_the_template_text_of_a_release_comes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "server.j2"
    path.write_text("# later\n")
    written = route((), Server(listen=("80",), names=("x",), template=str(path)))
    text = RENDERER.route(msgspec.structs.replace(written, template="# {{ service }} as released\n"))
    assert text.endswith("# web as released\n")
    path.unlink()
    with pytest.raises(UsageError) as failed:
        RENDERER.route(msgspec.structs.replace(written, template="{{ unknown }}"))
    assert str(path) in failed.value.sentence


@pytest.mark.parametrize("text", [None, "{{ unknown }}", "{% if %}"], ids=["absent", "unknown variable", "syntax"])
def test_a_template_that_cannot_be_rendered_is_an_error_with_its_name(tmp_path: Path, text: str | None) -> None:
    template = tmp_path / "server.j2"
    if text is not None:
        template.write_text(text)
    with pytest.raises(UsageError) as failed:
        RENDERER.route(route((), Server(listen=("80",), names=("x",), template=str(template))))
    assert str(template) in failed.value.sentence


def test_equal_bytes_have_an_equal_generation() -> None:
    first = candidate({}, "10.0.0.2:80")
    again = candidate(first, "10.0.0.2:80")
    other = candidate(first, "10.0.0.3:80")
    assert first == again
    assert set(other) == {OWN_FILE, "server.inc", "location.inc", "web.conf"}
    assert Renderer.generation(first) == Renderer.generation(again) != Renderer.generation(other)
    assert Renderer.generation(first) in first[OWN_FILE]


def test_the_generation_depends_on_names_and_on_foreign_files() -> None:
    generations = {
        Renderer.generation(files)
        for files in ({}, {"a.conf": "x"}, {"b.conf": "x"}, {"a.conf": "y"}, {"a.conf": "x", "b.conf": ""})
    }
    assert len(generations) == 5
    assert Renderer.generation({"a.conf": "x", OWN_FILE: "y"}) == Renderer.generation({"a.conf": "x"})


def test_foreign_files_stay() -> None:
    assert RENDERER.candidate({"theirs.conf": "# mine\n"}, {})["theirs.conf"] == "# mine\n"


def test_a_file_is_removed_by_none() -> None:
    assert "web.conf" not in RENDERER.candidate(candidate({}, "10.0.0.2:80"), {"web.conf": None})


@pytest.mark.parametrize("name", ["web.conf", "server.inc", "location.inc", OWN_FILE])
def test_a_foreign_file_is_never_overwritten(name: str) -> None:
    with pytest.raises(ConductorError) as refused:
        candidate({name: "# mine\n"}, "10.0.0.2:80")
    path = f"{Host().nginx.include_dir}/{name}"
    assert refused.value.sentence == f"cannot write {path}: the file was not written by Conductor"
    assert refused.value.hint.startswith("move it to another name: mv ")


def test_a_foreign_file_is_never_removed() -> None:
    with pytest.raises(ConductorError):
        RENDERER.candidate({"web.conf": "# mine\n"}, {"web.conf": None})


def test_what_nginx_needs_before_its_start_after_a_boot() -> None:
    """/run is empty then; a killed nginx leaves sockets that keep the next one from starting."""
    directories = {line.split()[1] for line in RENDERER.tmpfiles().splitlines() if line.startswith("d ")}
    sockets = (RENDERER.status_socket, RENDERER.unavailable)
    assert {str(path.parent) for path in (*sockets, RENDERER.flag)} <= directories


def test_only_sockets_that_no_process_uses_are_removed_before_nginx_starts(tmp_path: Path) -> None:
    """An nginx that was not started by systemd may run, and `systemctl start nginx` must not cut it off."""
    renderer = Renderer(Host(runtime_dir=str(tmp_path)))
    left, used = renderer.status_socket, renderer.unavailable
    left.parent.mkdir(parents=True)
    [line] = [line for line in renderer.unit_drop_in().splitlines() if line.startswith("ExecStartPre=-")]
    command = shlex.split(line.removeprefix("ExecStartPre=-").replace("$$", "$"))  # as systemd reads it
    page = renderer.runtime / "web.maintenance.sock"
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(page))
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(used))
        subprocess.run(command, check=True)
        assert (left.exists(), page.exists(), used.exists()) == (False, False, True)
    subprocess.run(command, check=True)
    assert not used.exists()


@pytest.mark.parametrize(
    ("host", "name", "directories"),
    [
        (Host(), "conductor.conf", {TMPFILES, NGINX_UNIT}),
        (Host(instance="demo", runtime_dir="/run/demo"), "conductor-demo.conf", {TMPFILES, NGINX_UNIT}),
        (Host(runtime_dir="/srv/run"), "conductor.conf", {NGINX_UNIT}),
        (Host(nginx=HostNginx(config="/srv/nginx.conf")), "conductor.conf", {TMPFILES}),
    ],
)
def test_install_writes_it_where_the_host_needs_it(
    host: Host, name: str, directories: set[Path], tmp_path: Path
) -> None:
    clock = FakeClock()
    cancellation = FakeCancellation(clock)
    traffic = ReloadTraffic(host, Locks(tmp_path, "test", clock, cancellation), clock, cancellation)
    found = {file.path: file.wanted for file in traffic.installed_files()}
    renderer = Renderer(host)
    wanted = {directory / name for directory in directories}
    assert {path for path in found if path.parent in {TMPFILES, NGINX_UNIT}} == {
        path for path in wanted if path.parent.parent.is_dir()
    }
    for path, text in found.items():
        if path.parent == TMPFILES:
            assert text == renderer.tmpfiles()
        if path.parent == NGINX_UNIT:
            assert text == renderer.unit_drop_in()


def test_a_file_that_was_edited_by_hand_is_found(tmp_path: Path) -> None:
    host = Host(state_dir=str(tmp_path), nginx=HostNginx(include_dir=str(tmp_path)))
    clock = FakeClock()
    cancellation = FakeCancellation(clock)
    traffic = ReloadTraffic(host, Locks(tmp_path, "test", clock, cancellation), clock, cancellation)
    path, text = tmp_path / "web.conf", RENDERER.route(route())
    Record(tmp_path).begin({"web": Version(digest(text), ())})
    assert traffic.edited("web") is None
    for written, edited in ((text, None), (f"{text}# mine\n", path), ("# not Conductor's\n", None)):
        path.write_text(written)
        assert traffic.edited("web") == edited


def test_a_missing_tmpfiles_entry_is_a_warning() -> None:
    missing = ManagedFile(path=TMPFILES / "conductor.conf", wanted="d", present=None, at_boot=True)
    others = [
        ManagedFile(path=TMPFILES / "conductor.conf", wanted="d", present="older", at_boot=True),
        ManagedFile(path=NGINX_UNIT / "conductor.conf", wanted="d", present=None),
    ]
    assert len(reboot_warnings([missing, *others])) == 1
    assert reboot_warnings(others) == ()
