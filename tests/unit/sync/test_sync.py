"""Which values are written, and what is reported while a key is followed."""

from pathlib import Path

import pytest

from conductor.definitions.load import load
from conductor.definitions.problems import DefinitionsError
from conductor.errors import ConductorError
from conductor.sync.source import Found, parse_address
from conductor.sync.sync import apply, follow
from tests.fakes.runtime import FakeClock

ADDRESS = parse_address("etcd://store/conductor/web1")
GOOD = b'{"version": 1, "services": {"web": {"image": "shop", "health": {"none": true}}}}\n'
OTHER = GOOD.replace(b"web", b"api")
BROKEN = {
    "half-written": GOOD[:40],
    "another version": GOOD.replace(b'"version": 1', b'"version": 2'),
    "a broken service": GOOD.replace(b"image", b"imgae"),
    "a broken host": b"version: 1\nhost: {kepe: 1}\nservices: {}\n",
    "conflicting services": b"version: 1\ndefaults: {image: x, port: 80, health: {tcp: true}, publish: [21000, 21009]}\n"
    b"services: {a: {}, b: {}}\n",
    "empty": b"",
    "not UTF-8": b'{"version": 1, "services": {}, "\xff": 1}',
    "no mapping": b"[]",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "services.yml"


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN)
def test_a_value_with_a_problem_is_not_written(path: Path, value: bytes) -> None:
    """The problems are those of the file with these contents, under the address of the key."""
    path.write_bytes(GOOD)
    with pytest.raises(DefinitionsError) as caught:
        apply(Found(value, "1"), ADDRESS, path)
    assert path.read_bytes() == GOOD
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    same = path.with_name("same.yml")
    same.write_bytes(value)
    try:
        expected = tuple(map(str, load(same).problems))
    except DefinitionsError as error:
        expected = error.details
    assert caught.value.details == tuple(line.replace(str(same), ADDRESS.url) for line in expected)


def test_a_good_value_replaces_the_file(path: Path) -> None:
    assert apply(Found(GOOD, "1"), ADDRESS, path) == f"wrote {path}: 1 service"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (GOOD, 0o640)
    before = path.stat()
    assert apply(Found(GOOD, "1"), ADDRESS, path) == f"{path} is up to date: 1 service"
    assert path.stat() == before
    assert apply(Found(b"version: 1\nservices: {}\n", "2"), ADDRESS, path) == f"wrote {path}: 0 services"


class End(Exception):  # noqa: N818 (of the test)
    """There are no more answers."""


class Answers:
    """A source that gives these answers, and keeps what it was told to have been seen."""

    def __init__(self, *answers: Found | ConductorError | None) -> None:
        self.answers = list(answers)
        self.seen: list[str | None] = []

    def read(self, seen: str | None) -> Found | None:
        if not self.answers:
            raise End
        self.seen.append(seen)
        answer = self.answers.pop(0)
        if isinstance(answer, ConductorError):
            raise answer
        return answer


def followed(path: Path, source: Answers, clock: FakeClock | None = None) -> list[str]:
    reported: list[str] = []
    with pytest.raises(End):
        follow(source, ADDRESS, path, clock or FakeClock(), lambda what: reported.append(str(what)))
    return reported


def test_each_version_is_applied_once(path: Path) -> None:
    source = Answers(Found(GOOD, "1"), None, Found(OTHER, "2"), None)
    assert followed(path, source) == [f"wrote {path}: 1 service"] * 2
    assert source.seen == [None, "1", "1", "2"]
    assert path.read_bytes() == OTHER


def test_the_key_is_read_twice_a_second(path: Path) -> None:
    """Also while the store is down, so that a change arrives soon after its restart."""
    clock, down = FakeClock(), ConductorError("cannot read x: refused")
    followed(path, Answers(Found(GOOD, "1"), None, down, down, Found(OTHER, "2"), None), clock)
    assert clock.monotonic() == pytest.approx(6 * 0.5)


def test_a_broken_version_is_reported_once(path: Path) -> None:
    source = Answers(Found(GOOD, "1"), Found(b"", "2"), None, Found(OTHER, "3"))
    wrote, broken, again = followed(path, source)
    assert (wrote, again) == (f"wrote {path}: 1 service",) * 2
    assert broken.startswith(f"cannot use {ADDRESS.url}: ")
    assert source.seen == [None, "1", "2", "2"]


def test_a_store_that_is_down_is_reported_once_and_when_it_is_back(path: Path) -> None:
    down, other = ConductorError("cannot read x: refused"), ConductorError("cannot read x: timed out")
    source = Answers(down, down, other, Found(GOOD, "1"), None)
    assert followed(path, source) == [
        str(down), str(other), f"wrote {path}: 1 service", f"resolved: {other}",
    ]  # fmt: skip


def test_a_version_that_could_not_be_written_is_tried_again(path: Path) -> None:
    path.with_name(f".{path.name}.new").mkdir()
    source = Answers(Found(GOOD, "1"), Found(GOOD, "1"))
    [failed] = followed(path, source)
    assert failed.startswith(f"cannot write {path}: ")
    assert source.seen == [None, None]
