"""nginx's files as text: upstreams, server blocks, and the generation that equal bytes have in common."""

from pathlib import Path

import msgspec
import pytest

from conductor.definitions.model import Definition, Host, HostNginx, Nginx, Server, Service
from conductor.errors import ConductorError, UsageError
from conductor.plan.route import Route
from conductor.state.locks import Locks
from conductor.traffic.port import ManagedFile
from conductor.traffic.reload.reload import NGINX_UNIT, TMPFILES, ReloadTraffic, reboot_warnings
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
    [command] = [line for line in RENDERER.unit_drop_in().splitlines() if line.startswith("ExecStartPre=-")]
    assert {str(path) for path in sockets} <= set(command.split())


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


def test_a_missing_tmpfiles_entry_is_a_warning() -> None:
    missing = ManagedFile(path=TMPFILES / "conductor.conf", wanted="d", present=None)
    others = [
        ManagedFile(path=TMPFILES / "conductor.conf", wanted="d", present="older"),
        ManagedFile(path=NGINX_UNIT / "conductor.conf", wanted="d", present=None),
    ]
    assert len(reboot_warnings([missing, *others])) == 1
    assert reboot_warnings(others) == ()
