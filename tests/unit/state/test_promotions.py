"""A request of an operator to end a canary is taken once, and a damaged one is no bug."""

from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.state.promotions import Promotions


def test_a_request_is_taken_once_and_by_its_change(tmp_path: Path) -> None:
    promotions = Promotions(str(tmp_path))
    assert not promotions.take("web", "c1")
    promotions.request("web", "c1")
    assert promotions.take("web", "c1")
    assert not promotions.take("web", "c1")
    promotions.request("web", "c1")
    assert not promotions.take("web", "c2")
    assert not promotions.take("web", "c1")


def test_bytes_that_are_no_text_are_no_request(tmp_path: Path) -> None:
    promotions = Promotions(str(tmp_path))
    promotions.request("web", "c1")
    (tmp_path / "promotions" / "web").write_bytes(b"\xff\xfe")
    assert not promotions.take("web", "c1")


def test_a_directory_in_its_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "promotions" / "web"
    path.mkdir(parents=True)
    with pytest.raises(ConductorError) as failed:
        Promotions(str(tmp_path)).take("web", "c1")
    assert str(path) in failed.value.sentence
