"""Which upstreams get requests from a server block, in every way that nginx allows the name to be written."""

import pytest

from conductor.traffic.references import WHERE, half_included, passed, unreferenced, upstreams

UPSTREAM = "upstream shop { server 10.0.0.2:80; } "
REFERRED = {
    "plain": "proxy_pass http://shop;",
    "with the URI": "proxy_pass http://shop$request_uri;",
    "with the URI in braces": "proxy_pass http://shop${request_uri};",
    "with a path": "proxy_pass http://shop/v1/;",
    "with a port": "proxy_pass http://shop:80$uri$is_args$args;",
    "in quotes, with capitals": 'proxy_pass "HTTP://Shop$request_uri";',
    "gRPC": "grpc_pass grpc://shop;",
    "FastCGI": "fastcgi_pass shop;",
    "inside of if": "if ($request_method = POST) { proxy_pass http://shop; }",
    "behind a comment": "# it's here {\nproxy_pass http://shop;",
    "a computed name": "set $to shop; proxy_pass http://$to;",
    "a computed name with a prefix": "proxy_pass http://shop-$color;",
    "a name that code chooses": 'access_by_lua_block { ngx.var.to = "shop" }',
}


@pytest.mark.parametrize("directive", REFERRED.values(), ids=REFERRED)
def test_referred_to(directive: str) -> None:
    assert unreferenced(f"http {{ {UPSTREAM} server {{ location / {{ {directive} }} }} }}", ["shop"]) == {}


NOT_REFERRED = {
    "nothing": "return 204;",
    "another name": "proxy_pass http://shop2;",
    "its name in other directives": "server_name shop; rewrite ^ http://shop/; location /shop { return 204; }",
    "only in a comment": "# proxy_pass http://shop;",
    "an address": "proxy_pass http://127.0.0.1:80$request_uri;",
    "a unix socket": "proxy_pass http://unix:/run/shop.sock:$request_uri;",
    "a host name": "proxy_pass http://shop.example.com$request_uri;",
}


@pytest.mark.parametrize("directive", NOT_REFERRED.values(), ids=NOT_REFERRED)
def test_not_referred_to(directive: str) -> None:
    found = unreferenced(f"http {{ {UPSTREAM} server {{ {directive} }} }}", ["shop"])
    assert found == {"shop": "no server block passes requests to the upstream shop"}


def test_the_file_with_a_name_that_no_upstream_has_is_named() -> None:
    files = {
        "/etc/nginx/nginx.conf": "http { include sites/*; " + UPSTREAM + "}",
        "/etc/nginx/sites/a": "server { location / { proxy_pass http://shpo$request_uri; } }",
    }
    dump = "".join(f"# configuration file {path}:\n{text}\n\n" for path, text in files.items())
    text = unreferenced(dump, ["shop"])["shop"]
    assert text.endswith("; /etc/nginx/sites/a passes requests to shpo, which is not an upstream")


def test_names_that_are_defined_and_names_that_get_requests() -> None:
    text = f"{UPSTREAM} server {{ location / {{ proxy_pass http://Other$request_uri; }} location /x {{ fastcgi_pass php; }} }}"
    assert (upstreams(text), passed(text)) == ({"shop"}, {"other", "php"})


DIRECTORY = "/etc/nginx/conductor.d"
INCLUDED = {
    "/etc/nginx/snippets/both.conf": f"include {DIRECTORY}/server.inc;",
    f"{DIRECTORY}/server.inc": 'set $announce "";',
    f"{DIRECTORY}/location.inc": "set $announce_back $uri;",
}
SERVER, LOCATION = f"include {DIRECTORY}/server.inc;", f"include {DIRECTORY}/location.inc;"
PASS = "proxy_pass http://Shop$request_uri;"


def missing_in(text: str) -> list[str]:
    """Return which include a server block of the operator lacks, by its name."""
    site = f"server {{ listen 1; {SERVER} location / {{ {LOCATION} proxy_pass http://other; }} }} server {{ {text} }}"
    texts = {"/etc/nginx/nginx.conf": "http { include sites/*; }", "/etc/nginx/sites/a": site, **INCLUDED}
    dump = "".join(f"# configuration file {path}:\n{text}\n\n" for path, text in texts.items())
    found = half_included(dump, DIRECTORY, ["shop", "other"])
    assert set(found) <= {"shop"}
    return [name for name in WHERE if any(one.endswith(f"include {DIRECTORY}/{name};") for one in found.values())]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (f"{SERVER} location / {{ {LOCATION} {PASS} }}", []),
        (f"{SERVER} location / {{ {PASS} }}", ["location.inc"]),
        (f"location / {{ {LOCATION} {PASS} }}", ["server.inc"]),
        (f"include conductor.d/server.inc; location / {{ include conductor.d/*.inc; {PASS} }}", []),
        (f"include snippets/both.conf; location / {{ {PASS} }}", ["location.inc"]),
        (f"include snippets/both.conf; location / {{ {LOCATION} {PASS} }}", []),
        (f"location / {{ {PASS} }}", []),  # without both, the operator has chosen to do without
        (f"{SERVER} return 204;", []),
    ],
)
def test_a_server_block_with_only_one_of_conductors_files(text: str, missing: list[str]) -> None:
    assert missing_in(text) == missing


def test_the_sentence_about_a_missing_include_has_the_line_to_add() -> None:
    dump = f"# configuration file {DIRECTORY}/server.inc:\nset $a b;\n\n"
    dump = f"# configuration file /etc/nginx/nginx.conf:\nserver {{ {SERVER} {PASS} }}\n\n{dump}"
    assert half_included(dump, DIRECTORY, ["shop"])["shop"] == (
        "a server block in /etc/nginx/nginx.conf is missing an include; "
        f"make this the first line of each location that passes requests to a service:  include {DIRECTORY}/location.inc;"
    )
