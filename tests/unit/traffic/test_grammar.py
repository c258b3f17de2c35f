"""nginx's grammar: the directives of the main context, in every way that nginx allows them to be written."""

import cProfile
from pathlib import Path

import pytest

from conductor.traffic import grammar

MAIN: dict[str, tuple[str, list[tuple[str, ...]]]] = {
    "behind another directive": ("worker_processes 2; pid /run/x.pid;", [("worker_processes", "2"), ("pid", "/run/x.pid")]),
    "over lines": ("pid\n  /run/x.pid\n;", [("pid", "/run/x.pid")]),
    "in double quotes": ('pid "/run/a b;{}#.pid";', [("pid", "/run/a b;{}#.pid")]),
    "in single quotes": ("pid '/run/x.pid';", [("pid", "/run/x.pid")]),
    "a quoted name": ('"pid" /x;', [("pid", "/x")]),
    "an escaped quote": (r'pid "/run/\"x\".pid";', [("pid", '/run/"x".pid')]),
    "quotes inside a word": ("""pid /run/it's";""", [("pid", """/run/it's\"""")]),
    "a hash inside a word": ("pid /run/a#b;", [("pid", "/run/a#b")]),
    "after a comment": ("# pid /no; {\npid /yes; # pid /no;", [("pid", "/yes")]),
    "after a block": ("events { pid /no; } pid /yes;", [("pid", "/yes")]),
    "after nested blocks": ("http{server{listen 80;location /{return 204;}}}pid /yes;", [("pid", "/yes")]),
    "a variable is no block": ("set ${name} 1; pid /yes;", [("set", "${name}", "1"), ("pid", "/yes")]),
    "a brace in quotes": ('http { log_format x "{"; } pid /yes;', [("pid", "/yes")]),
    "after Lua": (
        """http { init_by_lua_block { -- it's } {\n local a = {"}", '}'} --[[ } ]] local b = [[}]] } } pid /yes;""",
        [("pid", "/yes")],
    ),
    "without an end": ("pid /x", []),
    "inside an open quote": ('worker_processes 1; pid "/x;', [("worker_processes", "1")]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MAIN.values(), ids=MAIN)
def test_main_context(text: str, expected: list[tuple[str, ...]]) -> None:
    assert [(one.name, *one.arguments) for one in grammar.of_dump(text)] == expected


DUMP = """\
# configuration file /etc/nginx/nginx.conf:
worker_processes 2; include modules/*.conf;
include "main.conf"; http { include sites/*; }

# configuration file /etc/nginx/modules/a.conf:
pid /run/included.pid;

# configuration file /etc/nginx/main.conf:
error_log /var/log/main.log;

# configuration file /etc/nginx/sites/x:
error_log /var/log/site.log; pid /no;

"""


def test_files_are_followed_where_the_main_context_includes_them() -> None:
    found = [(one.name, *one.arguments, one.path) for one in grammar.of_dump(DUMP)]
    assert found == [
        ("worker_processes", "2", "/etc/nginx/nginx.conf"),
        ("pid", "/run/included.pid", "/etc/nginx/modules/a.conf"),
        ("error_log", "/var/log/main.log", "/etc/nginx/main.conf"),
    ]


def test_files_on_disk(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    config = tmp_path / "nginx.conf"
    config.write_text("include modules/*.conf; include absent.conf; events {}")
    for name in ("b", "a"):
        (tmp_path / "modules" / f"{name}.conf").write_text(f"worker_shutdown_timeout {name};")
    assert [(one.arguments, Path(one.path).name) for one in grammar.of_file(config)] == [
        (("a",), "a.conf"),
        (("b",), "b.conf"),
    ]
    assert grammar.of_file(tmp_path / "none.conf") == []


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    config = tmp_path / "nginx.conf"
    config.write_text("pid /x; include nginx.conf;")
    assert {one.name for one in grammar.of_file(config)} == {"pid", "include"}


def test_the_option_g() -> None:
    assert [(one.name, *one.arguments) for one in grammar.options("daemon off; pid /run/g.pid")] == [
        ("daemon", "off"),
        ("pid", "/run/g.pid"),
    ]


def test_the_cost_of_reading_server_blocks_is_proportional_to_their_number() -> None:
    """All of them include the same files. Calls are counted, because their time depends on the machine."""

    def calls(blocks: int) -> int:
        parts = {
            f"/etc/nginx/conductor.d/s{n}.conf": "server { include conductor.d/server.inc; }" for n in range(blocks)
        }
        dump = {"/etc/nginx/nginx.conf": "http { include conductor.d/*.conf; }", **parts}
        text = "".join(f"# configuration file {path}:\n{text}\n" for path, text in dump.items())
        text += "# configuration file /etc/nginx/conductor.d/server.inc:\nset $announce 1;\n"
        profile = cProfile.Profile()
        found = profile.runcall(lambda: list(grammar.servers(text)))
        assert len(found) == blocks
        assert {directive.name for directive in found[-1]} == {"include", "set"}
        return sum(one.callcount for one in profile.getstats())

    assert calls(200) < 5 * calls(50)
