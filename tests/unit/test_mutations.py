"""The list of `tests/run mutations` stays in step with the code."""

import pytest

from tests.mutations import MUTANTS, ROOT, Mutant, mutated


@pytest.mark.parametrize("one", MUTANTS, ids=lambda one: one.what)
def test_each_mutant_changes_the_code(one: Mutant) -> None:
    source = (ROOT / "conductor" / one.file).read_text()
    assert mutated(source, one.line, one.instead) != source
    assert all((ROOT / test.partition("::")[0]).exists() for test in one.tests)
