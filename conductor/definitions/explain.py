"""Explain why a tree does not fit the model: every problem at once, in sentences (pure).

msgspec validates, but reports only the first problem, in its own words. `explain` walks tree and types in parallel and
finds all of them. It is called only for what msgspec rejected.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from conductor.definitions.problems import nearest
from conductor.definitions.scalars import ByteSize, Percent, Seconds
from conductor.definitions.tree import Finding, Node, child_key, plain

# Keys of compose files that have another name here.
COMPOSE_KEYS = {"environment": "env", "healthcheck": "health", "ports": "publish", "replicas": "count"}


def convert(value: Any, kind: Any) -> Any:
    """Return a plain value as the model's type. Raise `msgspec.ValidationError` if it does not fit."""
    return msgspec.convert(
        _with_names_of_today(value), kind, strict=True, dec_hook=lambda leaf, written: leaf.parse(written)
    )


def _with_names_of_today(value: Any) -> Any:
    """Return a service or a host with today's name of an event that an earlier version of Conductor may have stored."""
    notify = value.get("notify") if isinstance(value, dict) else None
    if not isinstance(notify, dict) or not isinstance(notify.get("on"), list):
        return value
    events = ["interrupted" if one == "rolled-back" else one for one in notify["on"]]
    return {**value, "notify": {**notify, "on": events}}


def explain(node: Node, kind: Any, *, partial: bool = False) -> Iterator[Finding]:
    """Yield everything that prevents `node` from being a `kind`. With `partial`, no key is required (`defaults`)."""
    kind, meta = _unwrap(kind, node)
    value, base = node.value, get_origin(kind) or kind
    if kind is Any:
        return
    if isinstance(value, dict) and _is_struct(base):
        yield from _struct(node, value, base, partial=partial)
    elif isinstance(value, dict) and base is dict:
        yield from _mapping(value, kind, partial=partial)
    else:
        inner = list(_items(value, kind)) if isinstance(value, list) and base is tuple else []
        yield from inner
        if not inner and not fits(node, Annotated[kind, meta] if meta else kind):
            yield node.line, node.key, _sentence(node, kind, meta)


def without_unknown(node: Node, kind: Any) -> tuple[Node, list[str]]:
    """Return `node` without the keys that the model does not have, and the key paths of what was left out."""
    kind, _ = _unwrap(kind, node)
    value, base = node.value, get_origin(kind) or kind
    if not isinstance(value, dict) or not (base is dict or _is_struct(base)):
        return node, []
    kinds = (
        dict.fromkeys(value, get_args(kind)[1])
        if base is dict
        else {name: field.type for name, field in fields_of(base).items()}
    )
    unknown = [inner.key for name, inner in value.items() if name not in kinds]
    known: dict[str, Node] = {}
    for name, inner in value.items():
        if name in kinds:
            known[name], below = without_unknown(inner, kinds[name])
            unknown += below
    return node._replace(value=known), unknown


def unknown_key(name: str, expected: Iterable[str]) -> str:
    """Return the sentence for a key that the model does not have."""
    expected = list(expected)
    if name == "secrets" and "env" in expected:
        return "Docker's secrets are not supported; write each one as env: {NAME: {file: /PATH}}"
    near = COMPOSE_KEYS[name] if COMPOSE_KEYS.get(name) in expected else nearest(name, expected)
    return f"unknown key; did you mean {near}?" if near else f"unknown key; expected one of {', '.join(expected)}"


def describe(kind: Any) -> str:
    """Return what a value of this type must be, as a noun phrase."""
    kind, meta = _unwrap(kind, Node(None, ""))
    if meta is not None and meta.description:
        return meta.description
    base = get_origin(kind) or kind
    if base is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if base is tuple:
        return f"a list of {len(get_args(kind))}" if Ellipsis not in get_args(kind) else "a list, for example [a, b]"
    if _is_struct(base):
        return (
            f"a mapping with the key{'s' * (len(fields_of(base)) > 1)} {', '.join(fields_of(base))}"
            if len(fields_of(base)) < 10
            else "a mapping"
        )
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "a mapping"}
    return names.get(base, "a duration" if base is Seconds else "a value")


def _unwrap(kind: Any, node: Node) -> tuple[Any, msgspec.Meta | None]:
    """Return a type without its annotation: of `A | B` the one that the value resembles, of `A | None` always A."""
    meta = None
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
    if get_origin(kind) in {Union, UnionType}:
        kinds = [member for member in get_args(kind) if member is not type(None)]
        structs = [member for member in kinds if _is_struct(member)]
        likely = structs if isinstance(node.value, dict) and structs else kinds
        return _unwrap(likely[0], node)
    return kind, meta


def _is_struct(base: Any) -> bool:
    return isinstance(base, type) and issubclass(base, msgspec.Struct)


@cache
def fields_of(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Return the fields by their names in the file. msgspec evaluates the annotations of all fields at each call."""
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}


def _struct(node: Node, inside: dict[str, Node], struct: type[msgspec.Struct], *, partial: bool) -> Iterator[Finding]:
    fields = fields_of(struct)
    for name, inner in inside.items():
        if name in fields:
            yield from explain(inner, fields[name].type, partial=partial)
        else:
            yield inner.line, inner.key, unknown_key(name, fields)
    for name, field in fields.items():
        if field.required and name not in inside and not partial:
            yield node.line, child_key(node.key, name), f"missing required key; write {describe(field.type)}"


def _mapping(inside: dict[str, Node], kind: Any, *, partial: bool) -> Iterator[Finding]:
    name_kind, value_kind = get_args(kind)
    for name, inner in inside.items():
        if not fits(Node(name, ""), name_kind):
            yield inner.line, inner.key, f"invalid name; expected {describe(name_kind)}"
        yield from explain(inner, value_kind, partial=partial)


def _items(value: list[Node], kind: Any) -> Iterator[Finding]:
    kinds = get_args(kind)
    if Ellipsis in kinds:
        kinds = (kinds[0],) * len(value)
    for inner, item_kind in zip(value, kinds, strict=False):
        yield from explain(inner, item_kind)


def fits(node: Node, kind: Any) -> bool:
    """Return whether msgspec accepts the value."""
    try:
        convert(plain(node), kind)
    except msgspec.ValidationError:
        return False
    return True


def _sentence(node: Node, kind: Any, meta: msgspec.Meta | None) -> str:
    value, expected = node.value, describe(Annotated[kind, meta] if meta else kind)
    if isinstance(kind, type) and issubclass(kind, Seconds | ByteSize | Percent):
        try:
            kind.parse(plain(node))
        except ValueError as error:
            return str(error)
    if value is None:
        return f"must not be empty; write {expected}"
    if kind is str and isinstance(value, bool | int | float):
        return f"YAML reads this as {'true or false' if isinstance(value, bool) else 'a number'}; put it in quotes"
    absolute_path = meta is not None and (meta.pattern or "").startswith("^(/")
    if absolute_path and isinstance(value, str) and not value.startswith("/"):
        return 'must start with "/"'
    quoted = kind in {int, float, bool} and isinstance(value, str)
    return f"must be {expected}{', without quotes' if quoted else ''}"
