"""Why a tree is not what the model wants: every reason at once, in sentences (pure).

msgspec decides what is right, and says only its first reason in its own words; this walks tree and types in parallel
and finds all of them. It is only called for what msgspec refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from conductor.definitions.problems import nearest
from conductor.definitions.scalars import ByteSize, Seconds
from conductor.definitions.tree import Node, plain, under

Finding = tuple[int, str, str]  # line, key path, sentence


def convert(value: Any, kind: Any) -> Any:
    """A plain value as the model's type; `msgspec.ValidationError` where it does not fit."""
    return msgspec.convert(value, kind, strict=True, dec_hook=lambda leaf, written: leaf.parse(written))


def explain(node: Node, kind: Any, *, partial: bool = False) -> Iterator[Finding]:
    """Everything that keeps `node` from being a `kind`; `partial` asks for no required keys (`defaults`)."""
    kind, meta = _bare(kind, node)
    value, base = node.value, get_origin(kind) or kind
    if kind is Any:
        return
    if isinstance(value, dict) and _is_shape(base):
        yield from _shape(node, value, base, partial=partial)
    elif isinstance(value, dict) and base is dict:
        yield from _mapping(value, kind, partial=partial)
    else:
        inner = list(_items(value, kind)) if isinstance(value, list) and base is tuple else []
        yield from inner
        if not inner and not _fits(node, Annotated[kind, meta] if meta else kind):
            yield node.line, node.key, _sentence(node, kind, meta)


def unknown(name: str, known: Iterable[str]) -> str:
    """The sentence for a key that is not there."""
    known = list(known)
    near = nearest(name, known)
    return f"is not a key here: did you mean {near}?" if near else f"is not a key here: known are {', '.join(known)}"


def describe(kind: Any) -> str:
    """What a value of this kind must be."""
    kind, meta = _bare(kind, Node(None, ""))
    if meta is not None and meta.description:
        return meta.description
    base = get_origin(kind) or kind
    if base is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if base is tuple:
        return f"a list of {len(get_args(kind))}" if Ellipsis not in get_args(kind) else "a list, for example [a, b]"
    if _is_shape(base):
        return f"a mapping of {', '.join(_fields(base))}" if len(_fields(base)) < 10 else "a mapping"
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping"}
    return names.get(base, "a duration" if base is Seconds else "a value")


def _bare(kind: Any, node: Node) -> tuple[Any, msgspec.Meta | None]:
    """The kind without its annotation; of `A | B` the one that the value looks like, of `A | None` always A."""
    meta = None
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
    if get_origin(kind) in {Union, UnionType}:
        kinds = [member for member in get_args(kind) if member is not type(None)]
        shapes = [member for member in kinds if _is_shape(member)]
        likely = shapes if isinstance(node.value, dict) and shapes else kinds
        return _bare(likely[0], node)
    return kind, meta


def _is_shape(base: Any) -> bool:
    return isinstance(base, type) and issubclass(base, msgspec.Struct)


@cache
def _fields(shape: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field for field in msgspec.structs.fields(shape)}


def _shape(node: Node, inside: dict[str, Node], shape: type[msgspec.Struct], *, partial: bool) -> Iterator[Finding]:
    fields = _fields(shape)
    for name, inner in inside.items():
        if name in fields:
            yield from explain(inner, fields[name].type, partial=partial)
        else:
            yield inner.line, inner.key, unknown(name, fields)
    for name, field in fields.items():
        if field.required and name not in inside and not partial:
            yield node.line, under(node.key, name), f"is missing: write {describe(field.type)}"


def _mapping(inside: dict[str, Node], kind: Any, *, partial: bool) -> Iterator[Finding]:
    of_names, of_values = get_args(kind)
    for name, inner in inside.items():
        if not _fits(Node(name, ""), of_names):
            yield inner.line, inner.key, f"its name must be {describe(of_names)}"
        yield from explain(inner, of_values, partial=partial)


def _items(value: list[Node], kind: Any) -> Iterator[Finding]:
    kinds = get_args(kind)
    if Ellipsis in kinds:
        kinds = (kinds[0],) * len(value)
    for inner, of_item in zip(value, kinds, strict=False):
        yield from explain(inner, of_item)


def _fits(node: Node, kind: Any) -> bool:
    try:
        convert(plain(node), kind)
    except msgspec.ValidationError:
        return False
    return True


def _sentence(node: Node, kind: Any, meta: msgspec.Meta | None) -> str:
    value, what = node.value, describe(Annotated[kind, meta] if meta else kind)
    if isinstance(kind, type) and issubclass(kind, Seconds | ByteSize):
        try:
            kind.parse(plain(node))
        except ValueError as error:
            return str(error)
    if value is None:
        return f"is empty: write {what}"
    if kind is str and isinstance(value, bool | int | float):
        return f"YAML reads this as {'true or false' if isinstance(value, bool) else 'a number'}: put it in quotes"
    rooted = meta is not None and (meta.pattern or "").startswith("^(/")
    if rooted and isinstance(value, str) and not value.startswith("/"):
        return 'must start with "/"'
    quoted = kind in {int, float, bool} and isinstance(value, str)
    return f"must be {what}{', without quotes' if quoted else ''}"
