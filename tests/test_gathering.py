"""Mistakes in one piece do not hide those in the next."""

from __future__ import annotations

import pytest

from mlograph.errors import Fault, GraphError, UsageError
from mlograph.gathering import Gathering


def test_faults_of_all_pieces_are_gathered_in_order_each_once():
    found = Gathering()
    first, second = Fault(("a",), "first"), Fault(("b",), "second")
    for faults in ([first], [first, second]):
        with found.piece(("piece",)):
            raise GraphError(faults)
    assert found.faults == [first, second]


def test_a_mistake_without_a_place_is_a_fault_of_its_piece():
    found = Gathering()
    with found.piece(("env",)):
        raise UsageError("no Env")
    assert list(map(str, found.faults)) == ["env: no Env"]


def test_a_mistake_without_a_place_is_raised_where_the_piece_has_none():
    with pytest.raises(UsageError, match="no Env"), Gathering().piece():
        raise UsageError("no Env")


def test_what_is_no_mistake_of_the_user_is_raised():
    with pytest.raises(ZeroDivisionError), Gathering().piece(("env",)):
        raise ZeroDivisionError
