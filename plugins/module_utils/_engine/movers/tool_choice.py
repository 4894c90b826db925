# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Which tool moves an object."""

from __future__ import annotations

from ..config.job_file import MoverSettings
from ..core.model import Fetch, Send
from ..core.parts import PartMemory
from .tools import BOTO3, NATIVE, TOOLS, tool_of

_REMEMBERED = 10_000


class ToolChoice:
    """Chooses the job's tool if it supports the object, else boto3. Call once for each attempt.

    A tool that restarts a large object from its first byte gets it only once: if it does not finish, the object goes to
    the native mover, which keeps the parts already fetched or sent.
    """

    def __init__(self, settings: MoverSettings, memory: PartMemory) -> None:
        self._settings = settings
        self._tool = tool_of(settings)
        self._memory = memory
        self._begun: dict[int, None] = {}  # the latest large objects that such a tool was given

    def choose(self, work: Fetch | Send) -> str:
        """The tool for another attempt to move this object."""
        own = TOOLS[self._tool]
        is_begun_anew = not own.resumes and self._settings.is_large(work.size)
        if is_begun_anew and self._is_interrupted(work) and TOOLS[NATIVE].takes(work):
            return NATIVE
        if not own.takes(work):
            return BOTO3
        if is_begun_anew:
            self._remember(work.id)
        return self._tool

    def _is_interrupted(self, work: Fetch | Send) -> bool:
        return work.id in self._begun or self._memory.remembers(work)

    def _remember(self, object_id: int) -> None:
        self._begun[object_id] = None
        if len(self._begun) > _REMEMBERED:
            del self._begun[next(iter(self._begun))]
