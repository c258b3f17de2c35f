"""Schedules: valid and invalid ones, and the next run compared with cron's own formula."""

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conductor.cron.schedule import Schedule, next_run, parse

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
DAYS_OF_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "minutes", "hours"),
    [
        ("*/15 * * * *", {0, 15, 30, 45}, set(range(24))),
        ("5 0 * * *", {5}, {0}),
        ("05 007 * * *", {5}, {7}),
        ("1,3,50-52 0-23/8 * * *", {1, 3, 50, 51, 52}, {0, 8, 16}),
        ("*,5 23 * * *", set(range(60)), {23}),
        ("10-10 */24 * * *", {10}, {0}),
        ("0\t 1 \t* * *", {0}, {1}),
        ("@hourly", {0}, set(range(24))),
        ("@daily", {0}, {0}),
        ("@midnight", {0}, {0}),
    ],
)
def test_minutes_and_hours(text, minutes, hours):
    schedule = parse(text)
    assert (schedule.minutes, schedule.hours) == (minutes, hours)


@pytest.mark.parametrize(
    ("text", "months", "weekdays"),
    [
        ("0 0 * jan,JUN mon-fri", {1, 6}, {1, 2, 3, 4, 5}),
        ("0 0 * oct-dec 7", {10, 11, 12}, {0}),
        ("0 0 * 1-12/6 0-7", {1, 7}, set(range(7))),
        ("0 0 * * sun-Tue/2", set(range(1, 13)), {0, 2}),
        ("0 0 * * 5-7", set(range(1, 13)), {5, 6, 0}),
        ("@weekly", set(range(1, 13)), {0}),
        ("@yearly", {1}, set(range(7))),
        ("@annually", {1}, set(range(7))),
    ],
)
def test_months_and_weekdays(text, months, weekdays):
    schedule = parse(text)
    assert (schedule.months, schedule.weekdays) == (months, weekdays)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("60 * * * *", 'invalid minute "60"; write * or numbers from 0 to 59, lists (0,59), ranges (0-59) and steps (*/2, 0-59/2)'),
        ("H/15 * * * *", 'minute "H/15": cron does not support H; write */15'),
        ("* H * * *", 'hour "H": cron does not support H; write * or numbers from 0 to 23, lists (0,23), ranges (0-23) and steps (*/2, 0-23/2)'),
        ("* * * 13 *", 'invalid month "13"; write * or numbers from 1 to 12 or names (jan, feb), lists (1,12), ranges (1-12) and steps (*/2, 1-12/2)'),
        ("1/20 * * * *", 'minute "1/20" has a step but no range; write 1-59/20'),
        ("*/0 * * * *", 'minute "*/0" has a step of 0; write a step of 1 or more'),
        ("* 22-2 * * *", 'hour "22-2" is a reversed range, for which cron never starts the job; write 22-23,0-2'),
        ("* * * * fri-sun", 'day of the week "fri-sun" is a reversed range, for which cron never starts the job; write 5-7'),
        ("0 0 30 2 *", 'cron never starts the job: month "2" has no day "30"; write a date that exists'),
        ("* * * *", "no schedule; start the line with five fields (minute, hour, day of the month, month, day of the week) or a nickname such as @daily"),
        ("@Daily", "unknown nickname @Daily; write five fields or one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, @reboot"),
        ("60 * 0 * *", 'invalid minute "60"; write * or numbers from 0 to 59, lists (0,59), ranges (0-59) and steps (*/2, 0-59/2); invalid day of the month "0"; write * or numbers from 1 to 31, lists (1,31), ranges (1-31) and steps (*/2, 1-31/2)'),
    ],
)  # fmt: skip
def test_sentences(text, sentence):
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("field", range(5))
@given(text=st.from_regex(r"(H|[a-z]{3}|[0-9]{1,2})(-([a-z]{3}|[0-9]{1,2}))?(/[0-9]{1,2})?", fullmatch=True))
def test_what_a_message_says_to_write_is_valid(field, text):
    fields = ["*"] * 5
    fields[field] = text
    try:
        parse(" ".join(fields))
    except ValueError as error:
        found = re.fullmatch(r".*; write ([^ ]+)", str(error))
        if found:
            fields[field] = found[1]
            assert parse(" ".join(fields))


@pytest.mark.parametrize(
    "text",
    [
        "* 24 * * *",
        "* * 0 * *",
        "* * * * 8",
        "* * * * 5#2",
        "0~30 * * * *",
        "*5 * * * *",
        "4:30 * * * *",
        "1.5 * * * *",
        "*-5 * * * *",
        "-5 * * * *",
        "5- * * * *",
        "1-5-7 * * * *",
        "5, * * * *",
        "jan * * * *",
        "* * * * monday",
        "* * L * ?",
        "4294967301 * * * *",  # cron's atoi() reads it as 5
        "٣ * * * *",
        "* * * nov-feb *",
        "0 0 31 4,6,9,11 *",
        "0 0 31 2 */2",
        "* * * * * *",
        "",
        "@every_minute",
        "@",
    ],
)
def test_invalid(text):
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        pytest.param("* * * * *", "2026-03-01 10:00:59", "2026-03-01 10:01", id="strictly after"),
        pytest.param("0 10 * * *", "2026-03-01 10:00", "2026-03-02 10:00", id="not now"),
        pytest.param("*/30 * * * *", "2026-03-01 23:31", "2026-03-02 00:00", id="over midnight"),
        pytest.param("0 9-17 * * mon-fri", "2026-03-06 17:00", "2026-03-09 09:00", id="over a weekend"),
        pytest.param("0 0 13 * fri", "2026-03-01 00:00", "2026-03-06 00:00", id="either day is enough"),
        pytest.param("0 0 13 * fri", "2026-03-06 00:00", "2026-03-13 00:00", id="both at once"),
        pytest.param("0 0 */2 * mon", "2026-03-02 00:00", "2026-03-09 00:00", id="both, as one begins with a star"),
        pytest.param("0 0 13 * */5", "2026-03-01 00:00", "2026-03-13 00:00", id="both, as the other does"),
        pytest.param(
            "0 0 1,* * fri", "2026-03-03 00:00", "2026-03-04 00:00", id="a star that is not first does not count"
        ),
        pytest.param(
            "0 0 30 2 mon", "2026-03-03 00:00", "2027-02-01 00:00", id="a day that does not exist, or a weekday"
        ),
        pytest.param("0 0 29 2 *", "2026-03-01 00:00", "2028-02-29 00:00", id="leap day"),
        pytest.param("0 0 29 2 */6", "2073-01-01 00:00", "2076-02-29 00:00", id="leap day on a weekend"),
        pytest.param("0 0 31 * *", "2026-03-31 00:00", "2026-05-31 00:00", id="months without a 31st"),
        pytest.param("@yearly", "2026-01-01 00:00", "2027-01-01 00:00", id="yearly"),
        pytest.param("@monthly", "2026-12-02 00:00", "2027-01-01 00:00", id="monthly"),
        pytest.param("@weekly", "2026-03-02 00:00", "2026-03-08 00:00", id="weekly"),
    ],
)
def test_next_run(text, after, expected):
    assert next_run(parse(text), at(after)) == at(expected)


def test_reboot_has_no_next_run():
    assert parse("@reboot") == Schedule(reboot=True)
    assert next_run(parse("@reboot"), at("2026-03-01")) is None


def test_the_rarest_schedule_has_a_next_run():
    # 29 February is a Sunday in 2088 and, as 2100 is no leap year, not again before 2128.
    assert next_run(parse("0 0 29 2 */7"), at("2088-03-01")) == at("2128-02-29 00:00")


def list_element(low: int, high: int, names: list[str]) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    ranges = st.tuples(value, value).map(sorted)
    steps = st.integers(1, high)
    named = st.sampled_from(names) if names else value.map(str)
    return st.one_of(
        st.just("*"),
        value.map(str),
        named,
        ranges.map(lambda r: f"{r[0]}-{r[1]}"),
        steps.map(lambda s: f"*/{s}"),
        st.tuples(ranges, steps).map(lambda t: f"{t[0][0]}-{t[0][1]}/{t[1]}"),
    )


def field(low: int, high: int, names: list[str]) -> st.SearchStrategy[str]:
    return st.lists(list_element(low, high, names), min_size=1, max_size=3).map(",".join)


FIELDS = [(0, 59, []), (0, 23, []), (1, 31, []), (1, 12, MONTHS), (0, 7, WEEKDAYS)]


def holds(low: int, high: int, names: list[str], text: str, number: int) -> bool:
    """Whether a field matches a number, computed without the module's code."""
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if first == "*" else (first, last or first)
        begin, end = (names.index(v) + low if v in names else int(v) for v in (begin, end))
        if begin <= number <= end and (number - begin) % int(step or 1) == 0:
            return True
    return False


def fires(fields: list[str], moment: datetime) -> bool:
    """Cron's own condition (find_jobs in cron.c)."""
    numbers = [moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7]
    found = [holds(*spec, text, number) for spec, text, number in zip(FIELDS, fields, numbers, strict=True)]
    found[4] = found[4] or (numbers[4] == 0 and holds(*FIELDS[4], fields[4], 7))
    star = fields[2].startswith("*") or fields[4].startswith("*")
    days = found[2] and found[4] if star else found[2] or found[4]
    return found[0] and found[1] and found[3] and days


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(*(field(*spec) for spec in FIELDS)),
    st.datetimes(at("2026-01-01"), at("2032-01-01")),
    st.integers(0, 10**6),
)
def test_the_next_run_is_the_first_minute_that_fires(fields, after, pick):
    star = fields[2].startswith("*") or fields[4].startswith("*")
    dates = [(day, month) for month, last in enumerate(DAYS_OF_MONTH, 1) for day in range(1, last + 1)]
    exists = any(holds(*FIELDS[2], fields[2], day) and holds(*FIELDS[3], fields[3], month) for day, month in dates)
    if star and not exists:
        with pytest.raises(ValueError):
            parse(" ".join(fields))
        return
    schedule = parse(" ".join(fields))
    found = next_run(schedule, after)
    assert found is not None
    assert found > after
    assert (found.second, found.microsecond) == (0, 0)
    assert fires(fields, found)
    minutes_between = int((found - after).total_seconds() // 60)
    nearby = range(1, min(minutes_between, 300))
    for minutes in [*nearby, *(pick * 7919 * n % max(minutes_between, 1) for n in range(1, 50))]:
        moment = after.replace(second=0, microsecond=0) + timedelta(minutes=minutes)
        assert not after < moment < found or not fires(fields, moment)
