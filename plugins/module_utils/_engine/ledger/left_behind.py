# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""What the ledger knows about objects that no run can move: their failures, and their count in the last full pass.

Such objects have no row, since the ledger cannot hold their keys: their failures have the object number 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.errors import Trouble
from ..core.text import url_text
from .records import Fact
from .source_ports import LeftBehind

if TYPE_CHECKING:
    from ..config.job_file import Store

ACTION = "left at the source"
_FACT = "objects that cannot be moved"


def is_recorded(journal: LeftBehind, name: str, message: str) -> bool:
    """Whether the ledger already has this failure of an object without a row."""
    return journal.has_failure(name, "source", Trouble.UNSUPPORTED, message)


def note_count(journal: LeftBehind, source: Store, count: int) -> None:
    """Record that a full pass over `source` left `count` objects."""
    name = url_text(source.bucket, source.prefix)
    if journal.facts("source", name).get(_FACT, "0") != str(count):
        journal.set_fact("source", name, _FACT, str(count))


def left_behind(facts: Iterable[Fact], source: Store | None) -> int:
    """How many objects the last full pass over `source` left."""
    if source is None:
        return 0
    wanted = ("source", url_text(source.bucket, source.prefix), _FACT)
    return sum(int(fact.value) for fact in facts if (fact.side, fact.endpoint, fact.fact) == wanted)
