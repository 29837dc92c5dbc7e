"""Restore: settings that are undone at the end of a block."""

from __future__ import annotations

import pytest

from guarded._restore import restoring


def test_the_previous_value_is_put_back_when_the_block_ends() -> None:
    """Entering changes nothing, leaving puts the previous value back."""
    put: list[str] = []
    with restoring(put.append, "before") as entered:
        assert entered is None
        assert put == []
    assert put == ["before"]


def test_the_previous_value_is_put_back_when_the_block_raises() -> None:
    """An exception in the block passes on, and the previous value is back all the same."""
    put: list[str] = []
    with pytest.raises(ValueError, match="bad bar"), restoring(put.append, "before"):
        raise ValueError("bad bar")
    assert put == ["before"]


def test_who_wants_the_setting_for_good_ignores_the_result() -> None:
    """Without a block nothing is ever put back."""
    put: list[str] = []
    restoring(put.append, "before")
    assert put == []
