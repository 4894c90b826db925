# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The XML of a listing, whichever way a store writes it, and what is no listing."""

from __future__ import annotations

import pytest

from snowsync.store.listing_xml import ListingXml

Entries = list[dict[str, str]]
Summary = list[tuple[str, str]]


def read(text: str, chunk: int = 1 << 20) -> tuple[Entries, Summary]:
    """The entries, and the elements about the listing as a whole."""
    entries, summary = Entries(), Summary()
    xml = ListingXml(lambda fields: entries.append(dict(fields)), lambda name, text: summary.append((name, text)))
    for start in range(0, len(text), chunk):
        xml.feed(text[start : start + chunk])
    xml.finish("")
    return entries, summary


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "text",
    [
        "<ListBucketResult><Contents><Key>a&amp;b</Key><Size>1</Size></Contents><Name>n</Name></ListBucketResult>",
        "<s:ListBucketResult xmlns:s='x'><s:Contents><s:Key>a&amp;b</s:Key><s:Size>1</s:Size></s:Contents>"
        "<s:Name>n</s:Name></s:ListBucketResult>",
        "<listobjectsv2response><CONTENTS><KEY>a&amp;b</KEY><SIZE>1</SIZE></CONTENTS><NAME>n</NAME>"
        "</listobjectsv2response>",
    ],
)
def test_entries_and_what_is_said_of_the_whole(text: str, chunk: int) -> None:
    assert read(text, chunk) == ([{"key": "a&b", "size": "1"}], [("name", "n")])


def test_an_entry_has_nothing_of_the_one_before_and_nothing_from_deeper() -> None:
    owner = "<Owner><ID>i</ID></Owner>"
    text = f"<ListBucketResult><Contents><Key>a</Key><ETag>e</ETag>{owner}</Contents><Contents><Key>b</Key></Contents>"
    entries, summary = read(f"{text}</ListBucketResult>")
    assert [entry.get("etag") for entry in entries] == ["e", None]
    assert "id" not in entries[0]
    assert summary == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<html><body/></html>", "it is a <html>, not a listing"),
        ("<ListAllMyBucketsResult/>", "set `addressing: path`"),
        ("<!DOCTYPE x []><ListBucketResult/>", "it has a DOCTYPE"),
        ("<ListBucketResult></Name>", "not readable as XML"),
        ("<ListBucketResult><Name>", "ends too early"),
        ("<ListBucketResult/>", "an empty listing without any of the elements"),
    ],
)
def test_what_is_no_listing(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read(text)


def test_what_a_callback_raises_passes_through() -> None:
    def refuse(_fields: dict[str, str]) -> None:
        raise ValueError("no such entry")

    xml = ListingXml(refuse, lambda _name, _text: None)
    with pytest.raises(ValueError, match="no such entry"):
        xml.feed("<ListBucketResult><Contents><Key>a</Key></Contents>")
