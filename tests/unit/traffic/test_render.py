"""nginx text: what an upstream looks like, and that equal bytes are an equal generation."""

from conductor.definitions.model import Definition, Host, Nginx, Server, Service
from conductor.traffic.render import OWN, Renderer, Route


def route(addresses: tuple[str, ...], server: Server | None = None) -> Route:
    service = Service(image="app", port=80, nginx=Nginx(upstream="shop", server=server))
    return Route(Definition(id="web", service=service, written={}, digest="d"), addresses)


RENDERER = Renderer(Host())


def test_upstream():
    text = RENDERER.route(route(("10.0.0.2:80", "10.0.0.3:80")))
    assert "upstream shop {\n    server 10.0.0.2:80 max_fails=0;\n    server 10.0.0.3:80 max_fails=0;\n" in text
    assert "server {" not in text


def test_with_nothing_running_it_answers_503():
    assert "server unix:/run/conductor/nginx/unavailable.sock max_fails=0;" in RENDERER.route(route(()))


def test_server_block():
    text = RENDERER.route(route((), Server(listen=("80",), names=("a.example", "b.example"))))
    for part in (
        "listen 80;",
        "server_name a.example b.example;",
        "proxy_pass http://shop$request_uri;",
        "client_header_timeout 24000ms;",
    ):
        assert part in text
    assert text.index("location.inc") < text.index("proxy_pass")


def test_equal_bytes_are_an_equal_generation():
    first = RENDERER.candidate({}, (route(("10.0.0.2:80",)),))
    again = RENDERER.candidate(first, (route(("10.0.0.2:80",)),))
    other = RENDERER.candidate(first, (route(("10.0.0.3:80",)),))
    assert first == again
    assert set(other) == {OWN, "server.inc", "location.inc", "web.conf"}
    assert Renderer.generation(first) == Renderer.generation(again) != Renderer.generation(other)
    assert Renderer.generation(first) in first[OWN]


def test_files_of_others_stay():
    assert RENDERER.candidate({"theirs.conf": "# mine\n"}, ())["theirs.conf"] == "# mine\n"
