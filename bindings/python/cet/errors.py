"""Exceptions, one class per status of the library."""

from __future__ import annotations

from typing import Optional


# CET_ERROR_NODE and so on, from 1.
DETAILS = ("node", "initializer", "input", "expected", "got")


class CetError(Exception):
    """A call of the library failed. `status` is its cet_status; the message is one line that names the place.

    Parts of it by themselves, None where the error has no such part: `node`, `initializer` and `input` are names of the
    model, `expected` and `got` words of the message, `bytes_needed` what memory did not suffice for.
    """

    status = 0
    node: Optional[str] = None
    initializer: Optional[str] = None
    input: Optional[str] = None
    expected: Optional[str] = None
    got: Optional[str] = None
    bytes_needed: Optional[int] = None


class InvalidArgument(CetError, ValueError):
    status = -1


class InvalidModel(CetError):
    status = -2


class UnsupportedOperator(CetError):
    status = -3


class ShapeMismatch(CetError, ValueError):
    status = -4


class NotConverged(CetError):
    status = -5


class InfeasibleBudget(CetError):
    status = -6


class IOFailure(CetError):
    status = -7


class OutOfMemory(CetError, MemoryError):
    status = -8


class Cancelled(CetError):
    status = -9


class NumericError(CetError):
    status = -10


class InternalError(CetError):
    status = -11


_BY_STATUS = {
    kind.status: kind
    for kind in (
        InvalidArgument, InvalidModel, UnsupportedOperator, ShapeMismatch, NotConverged, InfeasibleBudget, IOFailure,
        OutOfMemory, Cancelled, NumericError, InternalError,
    )
}


def error_for(status: int, message: str) -> CetError:
    """The exception of a status."""
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return kind(message)
    error = CetError(message)
    error.status = status
    return error
