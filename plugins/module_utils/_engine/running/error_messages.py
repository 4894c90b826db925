# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""The error that ended a unit, as a message to the other process, which raises it as if it were its own."""

from __future__ import annotations

import builtins
import traceback
from typing import Any

from ..core.errors import SnowsyncError, Trouble
from ..ledger.database import UNREADABLE, problem_text


class RemoteTraceback(Exception):
    """The cause of an error that was raised in another process: its traceback there."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def as_message(error: BaseException) -> dict[str, Any]:
    """The error's kind, text and attributes; for one that nobody foresaw also the traceback."""
    if isinstance(error, UNREADABLE):
        return {"kind": "LedgerError", "text": f"Failed to read the ledger: {problem_text(error)}", "values": {}}
    if isinstance(error, SnowsyncError):
        return {"kind": _known(type(error)).__name__, "text": str(error), "values": _values(error)}
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"kind": type(error).__name__, "text": str(error), "traceback": lines}


def from_message(message: dict[str, Any]) -> BaseException:
    known = {kind.__name__: kind for kind in _kinds()}
    kind = known.get(message["kind"])
    if kind is None or "traceback" in message:
        return _unforeseen(message)
    error = kind.__new__(kind)
    Exception.__init__(error, message["text"])
    for name, value in message["values"].items():
        setattr(error, name, Trouble(value) if name == "trouble" else value)
    return error


def _kinds() -> list[type[SnowsyncError]]:
    """The errors of the engine."""
    found: list[type[SnowsyncError]] = [SnowsyncError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def _known(kind: type[SnowsyncError]) -> type[SnowsyncError]:
    """The class in core/errors.py that a more specific one, which only its own file knows, is derived from."""
    return next(each for each in kind.__mro__ if each.__module__ == SnowsyncError.__module__)


def _values(error: SnowsyncError) -> dict[str, Any]:
    values = {name: value.value if isinstance(value, Trouble) else value for name, value in vars(error).items()}
    return {name: value for name, value in values.items() if isinstance(value, (str, int, list))}


def _unforeseen(message: dict[str, Any]) -> Exception:
    """An exception of the same name and text, with the traceback of the other process as its cause."""
    error = _built_in(message["kind"], message["text"])
    if error is None or str(error) != message["text"]:
        error = type(message["kind"], (Exception,), {})(message["text"])
    error.__cause__ = RemoteTraceback(message.get("traceback", ""))
    return error


def _built_in(kind: str, text: str) -> Exception | None:
    found = getattr(builtins, kind, None)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        return None
    try:
        return found(text)
    except TypeError:  # it is made of more than a text
        return None
