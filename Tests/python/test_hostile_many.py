"""Many hostile models and options, one process each for hundreds of them: all are answered. No limit of time is asked for."""

import pytest

from test_hostile import survive

FIRST = [0, *[pytest.param(first, marks=pytest.mark.long) for first in (800, 1600)]]


@pytest.mark.parametrize("first", FIRST)
def test_models_of_any_arity_are_answered(first):
    assert len(survive("hostile_models.py", first, 800, timeout=120)) == 800


def test_options_of_any_number_are_answered():
    assert len(survive("extreme_options.py", timeout=200)) > 1200
