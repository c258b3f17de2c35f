"""Parses nginx's configuration and returns its directives: those of the main context in nginx's order, or all of them."""

import functools
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

MAX_INCLUDES = 10  # files inside each other

Expand = Callable[[str], Iterable[tuple[str, str]]]


class Directive(NamedTuple):
    """A directive, and the file that it is in."""

    name: str
    arguments: tuple[str, ...]
    path: str


def of_dump(dump: str) -> list[Directive]:
    """Return the main context of the output of `nginx -T`, which has every file that nginx read."""
    found = files(dump)

    def expand(pattern: str) -> Iterable[tuple[str, str]]:
        return [(path, text) for path, text in found if PurePosixPath(path).match(pattern)]

    return list(_included(*found[0], expand, str(PurePosixPath(found[0][0]).parent)))


def everywhere(dump: str) -> list[Directive]:
    """Return all directives of the output of `nginx -T`, in any block, file by file. A block's own directive has no contents."""
    return [
        Directive(words[0], tuple(words[1:]), path)
        for path, directives in _parsed(dump)
        for words, _depth, _block in directives
    ]


def servers(dump: str) -> Iterator[list[Directive]]:
    """Yield the directives of each server block of the output of `nginx -T`, with those of the files that it includes."""
    parsed = dict(_parsed(dump))
    prefix = PurePosixPath(next(iter(parsed))).parent

    @functools.cache  # every server block includes the same files
    def matching(pattern: str) -> list[str]:
        return [path for path in parsed if PurePosixPath(path).match(str(prefix / pattern))]

    def expanded(words: list[str], path: str, within: tuple[str, ...] = ()) -> Iterator[Directive]:
        yield Directive(words[0], tuple(words[1:]), path)
        if words[0] == "include" and len(words) > 1:
            for inner in matching(words[1]):
                if _may_include(inner, (*within, path)):
                    for more, _depth, _block in parsed[inner]:
                        yield from expanded(more, inner, (*within, path))

    for path, directives in parsed.items():
        block: list[Directive] | None = None
        outside = 0  # how many blocks the server block is in
        for words, depth, begins in directives:
            if block is not None and depth <= outside:
                yield block
                block = None
            if begins and words == ["server"]:
                block, outside = [], depth
            elif block is not None:
                block += expanded(words, path)
        if block is not None:
            yield block


@functools.lru_cache(maxsize=1)  # a long text, of which one command asks several things
def _parsed(dump: str) -> list[tuple[str, list[tuple[list[str], int, bool]]]]:
    return [(path, list(_directives(text))) for path, text in files(dump)]


def files(dump: str) -> list[tuple[str, str]]:
    """Return path and text of each file in the output of `nginx -T`, the main one first."""
    parts = _FILE.split(dump)
    return list(zip(parts[1::2], parts[2::2], strict=True)) or [("/", dump)]


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


def _may_include(path: str, within: tuple[str, ...]) -> bool:
    """False for a file that includes itself: nginx refuses it, and reading it would take for ever."""
    return path not in within and len(within) < MAX_INCLUDES


def _included(path: str, text: str, expand: Expand, prefix: str, within: tuple[str, ...] = ()) -> Iterator[Directive]:
    """Yield a file's directives in nginx's order: those of an included file stand where the `include` does."""
    for name, *arguments in _main(text):
        if name == "include" and arguments:
            for found, content in expand(str(PurePosixPath(prefix, arguments[0]))):
                if _may_include(found, (*within, path)):
                    yield from _included(found, content, expand, prefix, (*within, path))
                else:
                    yield Directive(name, tuple(arguments), path)
        else:
            yield Directive(name, tuple(arguments), path)


def _main(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple directive outside of all blocks."""
    return (words for words, depth, block in _directives(text) if depth == 0 and not block)


def _directives(text: str) -> Iterator[tuple[list[str], int, bool]]:
    """Yield the words of each directive, how many blocks it is in, and whether it begins a block.

    Blocks of some modules have entries instead, such as those of `map`, in the same grammar.
    """
    words: list[str] = []
    at = depth = 0
    while found := _TOKEN.match(text, at):
        at = found.end()
        kind = found.lastgroup
        if kind == "mark":
            if words and found[0] != "}":
                yield words, depth, found[0] == "{"
            if found[0] == "{" and words and words[0].endswith("_by_lua_block"):
                at = _after_lua(text, at)
            else:
                depth += {"{": 1, "}": -1, ";": 0}[found[0]]
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
