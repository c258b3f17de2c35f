"""Exit code 3: an unexpected exception becomes an error and a report, and the change is rolled back."""

import re
from pathlib import Path

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.commands import ROOT
from tests.support.host import TestHost, merged

# A library that breaks in a way no code expects, when the files for nginx are rendered for the first time.
BROKEN_LIBRARY = "raise ZeroDivisionError('the library is not itself today')\n"


def test_a_bug_is_a_sentence_and_a_report_without_secrets(serving: TestHost) -> None:
    secret, library = serving.directory / "token", serving.directory / "library"
    secret.write_text("hunter2-hunter2\n")
    library.mkdir()
    (library / "jinja2.py").write_text(BROKEN_LIBRARY)
    serving.define({"web": merged(QUICK, {"env": {"TOKEN": {"file": str(secret)}}})})
    env = {"PYTHONPATH": f"{library}:{ROOT}", "TMPDIR": str(serving.directory)}
    result = serving.upgrade("r2", env=env).expect(3)
    error = re.fullmatch(r"error: this is a bug in Conductor\n  please report it and attach (\S+)\n", result.stderr)
    assert error, str(result)
    path = Path(error[1])
    report = path.read_text()
    path.unlink()
    assert report.endswith("ZeroDivisionError: the library is not itself today\n")
    assert "conductor service upgrade --id web --revision r2\n" in report
    assert "hunter2" not in report
    nothing_left_behind(serving, "r1")
