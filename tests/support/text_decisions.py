"""Finds decisions taken from message text: in Python by its syntax tree, in shell and Ruby by line.

Text for people may be printed, joined and stored, but not compared or searched: reasons, outcomes and conditions are types,
and scripts use exit codes and JSON. Comparisons with None, "" and enum members are no decisions from text.
"""

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

# Variables, attributes and keys that carry text for people, or the output of another program.
NAMES = frozenset(
    {"sentence", "hint", "details", "why", "message", "summary", "explanation", "reason", "outcome", "stdout", "stderr"}
)
ATTRIBUTES = NAMES | {"text", "error", "strerror", "said"}
ENUMS = frozenset({"reason", "outcome"})  # types where the code is right: comparing one with a constant's name is fine
PRODUCERS = frozenset({"describe", "error_text", "format_message"})  # functions that return such text
KEEPS_TEXT = frozenset(
    {"lower", "upper", "casefold", "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "partition", "rpartition",
     "replace", "decode", "encode", "removeprefix", "removesuffix", "read", "getvalue"}
)  # fmt: skip
SEARCHES = frozenset({"startswith", "endswith", "find", "rfind", "index", "rindex", "count", "__contains__"})
PATTERN_SEARCHES = frozenset({"match", "search", "fullmatch", "findall", "finditer", "split"})


class Finding(NamedTuple):
    """One decision. `place` is the file and the function, `Class.function` for a method."""

    place: str
    line: int
    source: str

    def __str__(self) -> str:
        return f"{self.place} (line {self.line}): {self.source}"


def in_python(source: str, path: str) -> list[Finding]:
    """Return the decisions in a Python file."""
    scanner = _Scanner(source, path)
    scanner.visit(ast.parse(source))
    return scanner.findings


class _Scanner(ast.NodeVisitor):
    """Follows text through the local variables of each function."""

    def __init__(self, source: str, path: str) -> None:
        self.findings: list[Finding] = []
        self._lines = source.splitlines()
        self._path = path
        self._scope: list[str] = []
        self._texts: list[set[str]] = [set()]  # variables with such text, innermost function last
        self._errors: list[set[str]] = [set()]  # variables with an exception

    # Where text comes from, and where it goes.

    def _is_text(self, node: ast.AST | None) -> bool:
        match node:
            case ast.Name(id=name):
                return name in NAMES or name in self._texts[-1]
            case ast.Attribute(attr=name):
                return name in ATTRIBUTES
            case ast.Subscript(value=value, slice=key):
                return self._is_text(value) or (isinstance(key, ast.Constant) and key.value in ATTRIBUTES)
            case ast.Call():
                return self._returns_text(node)
            case ast.JoinedStr(values=values):
                return any(self._is_text(one.value) for one in values if isinstance(one, ast.FormattedValue))
            case ast.BinOp(left=left, right=right):
                return self._is_text(left) or self._is_text(right)
            case ast.BoolOp(values=values):
                return any(map(self._is_text, values))
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_text(body) or self._is_text(orelse)
            case ast.NamedExpr(value=value) | ast.Starred(value=value):
                return self._is_text(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return any(map(self._is_text, elements))
        return False

    def _returns_text(self, node: ast.Call) -> bool:
        match node.func:
            case ast.Name(id="str" | "repr"):
                return any(self._is_text(one) or self._is_error(one) for one in node.args)
            case ast.Name(id=name):
                return name in PRODUCERS
            case ast.Attribute(value=value, attr=name):
                if name == "join":
                    return any(map(self._is_text, node.args))
                if name == "get" and node.args and isinstance(node.args[0], ast.Constant):
                    return node.args[0].value in ATTRIBUTES
                return name in PRODUCERS or (name in KEEPS_TEXT and self._is_text(value))
        return False

    def _is_error(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id in self._errors[-1]

    def _assign(self, target: ast.AST, value: ast.AST | None) -> None:
        """Follow an assignment. A variable that gets another value is no text any more."""
        if isinstance(target, ast.Tuple | ast.List):
            parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value] * len(target.elts)
            for one, part in zip(target.elts, parts, strict=False):
                self._assign(one, part)
        elif isinstance(target, ast.Name):
            change = self._texts[-1].add if self._is_text(value) else self._texts[-1].discard
            change(target.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            self._assign(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.generic_visit(node)
        if self._is_text(node.value) and isinstance(node.target, ast.Name):
            self._texts[-1].add(node.target.id)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self._assign(node.target, node.value)

    def visit_For(self, node: ast.For) -> None:
        self._assign(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._assign(node.target, node.iter)
        self.generic_visit(node)

    def _visit_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        for generator in node.generators:
            self.visit(generator)
        for part in ("elt", "key", "value"):
            if inner := getattr(node, part, None):
                self.visit(inner)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._visit_comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._visit_comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._visit_comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._visit_comprehension(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._errors[-1].add(node.name)
        self.generic_visit(node)

    # Scopes.

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scope.append(node.name)
        errors = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg) and _is_error_type(one)}
        self._texts.append(set(self._texts[-1]))
        self._errors.append(self._errors[-1] | errors)
        self.generic_visit(node)
        self._errors.pop()
        self._texts.pop()
        self._scope.pop()

    # Decisions.

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
                for one, other in ((left, right), (right, left)):
                    if self._is_text(one) and not _is_no_text(other, may_be_enum=_name(one) in ENUMS):
                        self._report(node)
                        break
            left = right
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, node.func.value
            pattern = name in PATTERN_SEARCHES and any(map(self._is_text, node.args)) and not self._is_text(owner)
            if pattern or (name in SEARCHES and self._is_text(owner)):
                self._report(node)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        values = [one.value for case in node.cases for one in ast.walk(case.pattern) if isinstance(one, ast.MatchValue)]
        if self._is_text(node.subject) and any(isinstance(one, ast.Constant) and one.value for one in values):
            self._report(node.subject)
        self.generic_visit(node)

    def _report(self, node: ast.expr) -> None:
        place = f"{self._path}:{'.'.join(self._scope)}"
        finding = Finding(place, node.lineno, self._lines[node.lineno - 1].strip())
        if finding not in self.findings:
            self.findings.append(finding)


def _name(node: ast.AST) -> str:
    return getattr(node, "attr", getattr(node, "id", ""))


def _is_error_type(argument: ast.arg) -> bool:
    return argument.annotation is not None and bool(re.search(r"(Error|Exception)\b", ast.unparse(argument.annotation)))


def _is_no_text(node: ast.AST, *, may_be_enum: bool) -> bool:
    """True for None, "", a member of an enum, and a collection of these."""
    match node:
        case ast.Constant(value=value):
            return not value or not isinstance(value, str | bytes)
        case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=member):
            return owner[:1].isupper() or (may_be_enum and member.isupper())
        case ast.Set(elts=elements) | ast.Tuple(elts=elements) | ast.List(elts=elements):
            return all(_is_no_text(one, may_be_enum=may_be_enum) for one in elements)
        case ast.Name(id=name):
            return may_be_enum and name.isupper()
    return False


# Shell and Ruby.

_CONDUCTOR = r"\bconductor\s+(?:service|cron|nginx|config|supervise|run|console)\b"
_SEARCH = r"(?:grep|egrep|fgrep|rg|sed|awk|perl)\b"
_TEST = r"(?:=~|[!=]=|\s=\s|\bcase\b|" + _SEARCH + ")"
_SHELL = (
    re.compile(rf"{_CONDUCTOR}[^#]*\|\s*{_SEARCH}"),
    re.compile(rf"{_TEST}.*\$\([^)]*{_CONDUCTOR}"),
    re.compile(rf"\$\([^)]*{_CONDUCTOR}[^)]*\)[^;&]*{_TEST}"),
)
_RUBY_TEXT = r"(?:\b(?:text|stdout|stderr|output|said|message|sentence|summary|hint|details)\b|\[[\"']text[\"']\])"
_RUBY_SEARCH = r"(?:\.(?:include\?|match\??|start_with\?|end_with\?|scan|index|casecmp\??)|\s*(?:=~|!~|===?|!=)\s)"
_RUBY = (
    re.compile(
        rf"{_RUBY_TEXT}(?:\.(?:to_s|strip|downcase|lines|last|first|chomp))*{_RUBY_SEARCH}(?!\s*(?:nil|\"\")\b)"
    ),
    re.compile(rf"=~\s*\w*\.?{_RUBY_TEXT}"),
    re.compile(rf"\bcase\b.*{_RUBY_TEXT}"),
    re.compile(rf"\bcapture\(.*\){_RUBY_SEARCH}"),
    re.compile(rf"\.match\??\(.*{_RUBY_TEXT}\)"),
)


def in_shell(source: str, path: str) -> list[Finding]:
    """Return the decisions from Conductor's output in a shell script, or a file that contains shell commands.

    Output is followed through pipes, variables and files. What `jq` reads is JSON.
    """
    findings = []
    texts: set[str] = set()  # variables and files with Conductor's output
    for number, line in _lines(source):
        read = any(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", line) for text in texts)
        if (read and re.search(_TEST, line)) or any(pattern.search(line) for pattern in _SHELL):
            findings.append(Finding(path, number, line.strip()))
        if re.search(_CONDUCTOR, line) and not re.search(r"\bjq\b", line):
            for name in re.findall(rf"\b(\w+)=[\"']?(?:\$\(|`)[^)`]*{_CONDUCTOR}", line):
                texts |= {f"${name}", f"${{{name}}}"}
            texts |= {file for file in re.findall(r"(?<![<&])>>?\s*\"?([^\s\"&|;]+)", line) if file != "/dev/null"}
    return findings


def in_ruby(source: str, path: str) -> list[Finding]:
    """Return the decisions from text in a Ruby file."""
    return [
        Finding(path, number, line.strip())
        for number, line in _lines(source)
        if any(pattern.search(line) for pattern in _RUBY)
    ]


def _lines(source: str) -> Iterator[tuple[int, str]]:
    """Yield (number, line) with continued lines joined, without comment lines."""
    number, start, joined = 0, 1, ""
    for number, line in enumerate(source.splitlines(), 1):
        joined += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        if not joined.lstrip().startswith("#"):
            yield start, joined
        start, joined = number + 1, ""
