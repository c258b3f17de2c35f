"""Text of a definition, of an operator or of Docker that would be another directive in nginx's files: refused, or only a word there."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from conductor.definitions.host import Host
from conductor.definitions.load import load
from conductor.plan.release import Maintenance
from conductor.plan.route import Route
from conductor.traffic import grammar
from conductor.traffic.render import Renderer

RENDERER = Renderer(Host())
WEB: dict[str, Any] = {
    "image": "shop", "port": 80, "health": {"path": "/"},
    "nginx": {
        "upstream": "shop",
        "server": {"listen": ["80", "127.0.0.1:443 ssl"], "names": ["shop.example"], "tls": {"certificate": "/c.pem", "key": "/k.pem"}},
    },
}  # fmt: skip
PLACES: tuple[tuple[str | int, ...], ...] = (
    ("nginx", "upstream"), ("nginx", "server", "listen", 0), ("nginx", "server", "listen", 1), ("nginx", "server", "names", 0),
    ("nginx", "server", "tls", "certificate"), ("nginx", "server", "tls", "key"),
)  # fmt: skip
ATTEMPTS = (
    "x; return 200 pwned", "x;\n}\nserver { listen 81; }", "x {", "x }", 'x"; load_module y', "x'; load_module y", "x\\", "x#", "x $host",
    "$host", "${host}", "x\tload_module y", "x\0", "x\n", "\u2028load_module y", "{{ 1 }}", "{% raw %}", "~^(?<pwned>.*)$", "", " ", "*", "80 ssl; x y",
    "unix:/run/x.sock; x y", "/c.pem; x y", "data:x", "engine:x", "/c\npem", "80 default_server proxy_protocol; x",
)  # fmt: skip
MESSAGES = (
    "'; load_module y; '",
    '"; return 200 pwned; "',
    "\\'; x y",
    "$host ${host}",
    "</title><script>x</script>",
    "}\nserver {",
    "{{ 1 }}",
    "a\\",
    "#",
    "\u2028;",
)


def names(text: str) -> list[str]:
    """Return the directives of the file, as nginx's own grammar has them."""
    return sorted(one.name for one in grammar.everywhere(text))


def rendered(directory: Path, service: dict[str, Any], maintenance: Maintenance | None = None) -> str | None:
    """Return nginx's file of a service; None when the definition is refused."""
    path = directory / "services.yml"
    path.write_text(json.dumps({"version": 1, "services": {"web": service}}), errors="surrogatepass")
    definitions = load(path)
    if "web" in definitions.broken:
        return None
    return RENDERER.route(Route(definitions.service("web"), ("10.0.0.2:80",), maintenance=maintenance))


def test_the_definition_itself_is_accepted(tmp_path: Path) -> None:
    assert "server" in names(rendered(tmp_path, WEB) or "")


@pytest.mark.parametrize("place", PLACES, ids=[".".join(map(str, place)) for place in PLACES])
def test_a_value_adds_no_directive(tmp_path: Path, place: tuple[str | int, ...]) -> None:
    wanted = names(rendered(tmp_path, WEB) or "")
    for attempt in ATTEMPTS:
        service = copy.deepcopy(WEB)
        inner: Any = service
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = attempt
        text = rendered(tmp_path, service)
        assert text is None or names(text) == wanted, attempt


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_an_operator_adds_no_directive(tmp_path: Path, message: str) -> None:
    def page(reason: str) -> str:
        since = "2026-01-01T00:00:00.000Z"
        return rendered(tmp_path, WEB, Maintenance(reason=reason, who="ada", since=since, template=None)) or ""

    text = page(message)
    harmless = "Back soon" + " for $5" * ("$" in message)  # for a dollar nginx needs a variable
    assert names(text) == names(page(harmless))
    assert "<script>" not in text
