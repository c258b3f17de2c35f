"""Secrets are removed from the output of an app, in every form it may write them."""

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
def test_every_form_is_replaced(value, written):
    assert redact(f"said {written(value)}, twice {written(value)}").replace("'", "").replace('"', "") == (
        "said [secret], twice [secret]"
    )


def test_each_line_of_a_secret_is_replaced():
    assert [redact(line) for line in f"begin\n{KEY}".splitlines()] == [
        "begin",
        "[secret]",
        "[secret]",
        "end",
        "[secret]",
    ]


def test_short_values_and_plain_values_are_kept():
    assert redact("abc, a plain value") == "abc, a plain value"
    assert redactor([])("anything") == "anything"


@pytest.mark.parametrize("value", [PLAIN, ODD, KEY], ids=["plain", "odd", "lines"])
def test_the_end_of_a_cut_secret_is_removed(value):
    for written in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
        for cut in range(1, len(written)):
            assert without_cut_secret(f"{written[cut:]} = it", [Secret(value)]) == " = it"
    assert without_cut_secret("it = it", [Secret(value)]) == "it = it"
    assert without_cut_secret("", [Secret(value)]) == ""
    assert without_cut_secret("it", []) == "it"
