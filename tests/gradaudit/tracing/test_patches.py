"""Attributes that are replaced for a while."""

from __future__ import annotations

import pytest

from gradaudit.errors import TraceError
from gradaudit.tracing.patches import Patches


class Owner:
    """Something with attributes to replace."""

    def method(self, number: int) -> int:
        return number

    @staticmethod
    def function(number: int) -> int:
        return number


def test_calls_go_to_the_wrapper_until_the_end() -> None:
    with Patches() as patches:
        patches.wrap(Owner, "method", lambda original, owner, number: original(owner, number) + 1)
        patches.wrap(Owner, "function", lambda original, number: original(number) + 2)
        assert (Owner().method(1), Owner.function(1), Owner().function(1)) == (2, 3, 3)
    assert (Owner().method(1), Owner.function(1)) == (1, 1)


def test_an_attribute_that_a_release_does_not_have_is_named() -> None:
    with Patches() as patches, pytest.raises(TraceError, match=r"Owner\.moved is not there in TensorFlow"):
        patches.wrap(Owner, "moved", lambda original: original)
