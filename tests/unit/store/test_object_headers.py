# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What travels with an object, and how it is written where a store takes nothing beyond ASCII."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from snowsync.core.header_text import dump_headers
from snowsync.core.model import Headers
from snowsync.store.object_headers import ascii_headers, carried, carried_text

FULL = Headers("text/css", "no-cache", "gzip", "inline", "de", "never", {"a": "b"}, {"c": "d"})


def job(tags: str = "copy", metadata: str = "copy") -> Any:
    return SimpleNamespace(tags=tags, metadata=metadata)


@pytest.mark.parametrize(
    ("tags", "metadata", "expected"),
    [
        ("copy", "copy", FULL),
        ("skip", "copy", Headers("text/css", "no-cache", "gzip", "inline", "de", "never", {"a": "b"})),
        ("copy", "skip", Headers("text/css", content_encoding="gzip", tags={"c": "d"})),
        ("skip", "skip", Headers("text/css", content_encoding="gzip")),
    ],
)
def test_the_job_says_what_goes_along(tags: str, metadata: str, expected: Headers) -> None:
    assert carried(FULL, job(tags, metadata)) == expected


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("aws-chunked", ""),
        ("AWS-Chunked", ""),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("br,aws-chunked,gzip", "br, gzip"),
        ("br,gzip", "br,gzip"),
        ("", ""),
    ],
)
def test_the_framing_of_an_upload_is_no_encoding(encoding: str, expected: str) -> None:
    assert carried(Headers(content_encoding=encoding), job()).content_encoding == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("attachment", "attachment"),
        ('attachment; filename="ä.pdf"', "attachment; filename*=UTF-8''%C3%A4.pdf"),
        ("attachment;filename=ä.pdf ; size=3", "attachment; filename*=UTF-8''%C3%A4.pdf; size=3"),
        ('inline; filename="a\\"世;x"; b="c;d"', "inline; filename*=UTF-8''a%22%E4%B8%96%3Bx; b=\"c;d\""),
    ],
)
def test_names_of_files_keep_their_letters(value: str, expected: str) -> None:
    assert ascii_headers({"Content-Disposition": value}) == {"Content-Disposition": expected}


@pytest.mark.parametrize(("name", "value"), [("Cache-Control", "für immer"), ("Content-Disposition", "anhängen")])
def test_what_has_no_form_in_ascii_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"its {name} .*{value}.* is not ASCII.*metadata: skip"):
        ascii_headers({name: value, "Content-Type": "a/b"})


@pytest.mark.parametrize("encoding", ["", "gzip", "aws-chunked", "AWS-Chunked,gzip"])
@pytest.mark.parametrize("tags", ["copy", "skip"])
@pytest.mark.parametrize("metadata", ["copy", "skip"])
def test_the_text_says_the_same_as_the_headers(encoding: str, tags: str, metadata: str) -> None:
    headers = Headers("text/css", content_encoding=encoding, metadata={"a": "aws"}, tags={"c": "d"})
    wanted = dump_headers(carried(headers, job(tags, metadata)))
    assert carried_text(dump_headers(headers), job(tags, metadata)) == wanted
