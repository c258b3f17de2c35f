"""Secrets taken out of what an app said, however it wrote them."""

import json

import pytest

from conductor.definitions.redaction import redactor, without_cut_secret
from conductor.definitions.scalars import Secret

PLAIN, ODD, KEY = "tok-3f9c1d77", "p\\a'ss\"wörd\t-x", "-----BEGIN KEY-----\nMIIBVgIBADAN\nend\n-----END KEY-----"
redact = redactor([Secret(PLAIN), Secret(ODD), Secret(KEY), Secret("abc"), "a plain value"])


@pytest.mark.parametrize("value", [PLAIN, ODD, KEY], ids=["plain", "odd", "lines"])
@pytest.mark.parametrize(
    "written",
    [str, repr, json.dumps, lambda text: json.dumps(text, ensure_ascii=False), lambda text: repr(json.dumps(text))],
    ids=["raw", "repr", "json", "json in UTF-8", "json in repr"],
)
def test_however_it_is_written(value, written):
    assert redact(f"said {written(value)}, twice {written(value)}").replace("'", "").replace('"', "") == (
        "said [secret], twice [secret]"
    )


def test_each_line_of_several():
    assert [redact(line) for line in f"begin\n{KEY}".splitlines()] == [
        "begin",
        "[secret]",
        "[secret]",
        "end",
        "[secret]",
    ]


def test_what_is_short_or_no_secret_stays():
    assert redact("abc, a plain value") == "abc, a plain value"
    assert redactor([])("anything") == "anything"


@pytest.mark.parametrize("value", [PLAIN, ODD, KEY], ids=["plain", "odd", "lines"])
def test_the_end_of_a_secret_that_a_text_begins_with(value):
    for written in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
        for cut in range(1, len(written)):
            assert without_cut_secret(f"{written[cut:]} = it", [Secret(value)]) == " = it"
    assert without_cut_secret("it = it", [Secret(value)]) == "it = it"
    assert without_cut_secret("", [Secret(value)]) == ""
    assert without_cut_secret("it", []) == "it"
