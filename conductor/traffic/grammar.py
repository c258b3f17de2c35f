"""Parses nginx's configuration and returns the directives of the main context.

The blocks inside the main context are skipped: modules may extend their grammar, but not that of the main context.
"""

import glob
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# A token of ngx_conf_read_token: quotes and comments begin only where a word may begin, and `${name}` is not a block.
_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<mark>[;{}])
    | "(?P<double>(?:\\.|[^"\\])*)" | '(?P<single>(?:\\.|[^'\\])*)'
    | (?P<word>(?:\\.|\$\{|[^\s;{}"'#\\])(?:\\.|\$\{|[^\s;{\\])*)""",
    re.VERBOSE | re.DOTALL,
)
# A token of Lua, whose blocks (`…_by_lua_block { }`) have its grammar: comments, strings, braces.
_LUA = re.compile(
    r"""--\[\[.*?\]\] | --[^\n]* | \[\[.*?\]\] | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | (?P<mark>[{}])""",
    re.VERBOSE | re.DOTALL,
)
_FILE = re.compile(r"^# configuration file (/.*):\n", re.MULTILINE)  # before each file in the output of `nginx -T`

Expand = Callable[[str], Iterable[tuple[str, str]]]


class Directive(NamedTuple):
    """A simple directive of the main context, and the file that it is in."""

    name: str
    arguments: tuple[str, ...]
    path: str


def of_dump(dump: str) -> list[Directive]:
    """Return the main context of the output of `nginx -T`, which has every file that nginx read."""
    parts = _FILE.split(dump)
    files = list(zip(parts[1::2], parts[2::2], strict=True)) or [("/", dump)]

    def expand(pattern: str) -> Iterable[tuple[str, str]]:
        return [(path, text) for path, text in files if PurePosixPath(path).match(pattern)]

    return list(_included(*files[0], expand, str(PurePosixPath(files[0][0]).parent)))


def of_file(config: Path) -> list[Directive]:
    """Return the main context of a configuration on disk. A file that cannot be read has no directives."""

    def expand(pattern: str) -> Iterable[tuple[str, str]]:
        return [(path, _read(path)) for path in sorted(glob.glob(pattern))]  # noqa: PTH207 (as nginx: an absolute pattern)

    return list(_included(str(config), _read(config), expand, str(config.parent)))


def options(text: str) -> list[Directive]:
    """Return the directives of nginx's option `-g`."""
    return [Directive(words[0], tuple(words[1:]), "-g") for words in _main(f"{text};")]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""


def _included(path: str, text: str, expand: Expand, prefix: str, depth: int = 0) -> Iterator[Directive]:
    """Yield a file's directives in nginx's order: those of an included file stand where the `include` does."""
    for name, *arguments in _main(text):
        if name == "include" and arguments and depth < 10:  # nginx refuses files that include each other
            for found, content in expand(str(PurePosixPath(prefix, arguments[0]))):
                yield from _included(found, content, expand, prefix, depth + 1)
        else:
            yield Directive(name, tuple(arguments), path)


def _main(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple directive outside of all blocks."""
    words: list[str] = []
    at = depth = 0
    while found := _TOKEN.match(text, at):
        at = found.end()
        kind = found.lastgroup
        if kind == "mark":
            if found[0] == "{" and words and words[0].endswith("_by_lua_block"):
                at = _after_lua(text, at)
            else:
                depth += {"{": 1, "}": -1, ";": 0}[found[0]]
            if found[0] == ";" and depth == 0 and words:
                yield words
            words = []
        elif kind is not None:
            words.append(re.sub(r"\\([\"'\\])", r"\1", found[kind]))


def _after_lua(text: str, at: int) -> int:
    """Return the position after the brace that closes a block of Lua."""
    depth = 1
    for found in _LUA.finditer(text, at):
        if found["mark"]:
            depth += 1 if found["mark"] == "{" else -1
        if depth == 0:
            return found.end()
    return len(text)
