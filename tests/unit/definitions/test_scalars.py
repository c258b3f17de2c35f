import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.scalars import ByteSize, Percent, Period, Seconds, Secret


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("1500ms", 1.5),
        ("2m", 120),
        ("1h", 3600),
        ("1d", 86400),
        (1.5, 1.5),
        (3, 3),
        ("0.1s", 0.1),
        (0, 0),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    assert Seconds.parse(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "s", "1 s", "-1s", "1e3", "1w", "1h30m", "٣s", True, None, "4000d", [], "1s\n2"]
)
def test_invalid_durations(written: object) -> None:
    with pytest.raises(ValueError):
        Seconds.parse(written)


def test_a_period_is_longer_than_0() -> None:
    with pytest.raises(ValueError):
        Period.parse("0ms")


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("512MiB", 2**29),
        ("20MB", 20_000_000),
        ("1g", 2**30),
        ("1.5KiB", 1536),
        (7, 7),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_sizes(written: object, size: int) -> None:
    assert ByteSize.parse(written) == size


@pytest.mark.parametrize("written", ["", "1 GiB", "1gb", "-1", False, "9" * 19, "1mib"])
def test_invalid_sizes(written: object) -> None:
    with pytest.raises(ValueError):
        ByteSize.parse(written)


@given(st.integers(0, 2**60))
def test_the_text_of_a_size_parses_as_the_same(size: int) -> None:
    assert ByteSize.parse(ByteSize(size).text) == size


@given(st.integers(0, 10**15))
def test_the_text_of_a_duration_parses_as_the_same(microseconds: int) -> None:
    if microseconds <= 3650 * 86400 * 10**6:
        seconds = Seconds.parse(f"{microseconds // 10**6}.{microseconds % 10**6:06}s")
        assert Seconds.parse(seconds.text) == seconds


@pytest.mark.parametrize(("written", "percent"), [("10%", 10), (" 0.5% ", 0.5), (10.0, 10), (0, 0), ("100", 100)])
def test_percentages(written: object, percent: float) -> None:
    assert Percent.parse(written) == percent
    assert Percent.parse(Percent.parse(written).text) == percent


@pytest.mark.parametrize("written", ["", "%", "10 %", "-1%", "100.01%", "101", True, None, "10%%", "1e1"])
def test_invalid_percentages(written: object) -> None:
    with pytest.raises(ValueError):
        Percent.parse(written)


def test_a_secret_is_printed_redacted() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]} {vars(type(secret))}"
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    assert secret.reveal() == "hunter2"
