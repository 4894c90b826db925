# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Makes malformed XML responses readable for a parser, so that one odd key does not hide the others. No side effects.

Stores write raw keys: with control characters, raw or as references, which XML 1.0 does not allow; with bytes that are
not UTF-8; with a bare `&`. Each such character is replaced by one of the last private-use characters of Unicode while a
parser reads the text, and restored afterwards. A document in another encoding is decoded with that encoding.
"""

from __future__ import annotations

import codecs
import re

_SURROGATES = 0x10F000  # replacements of U+D800 to U+DFFF; a lone surrogate stands for a byte that is not UTF-8
_OTHERS = 0x10F800  # replacements of control characters, U+FFFE and U+FFFF, by their last six bits
_NO_CHARACTER = 0xD800  # for a reference to a non-character: a key that contains it cannot be moved
_FIRST_NONCHARACTERS = 0xFFC0

_CONTROLS = bytes(set(range(0x20)) - {0x09, 0x0A})  # a raw carriage return is read as a line feed
_BEFORE = "\ufeff \t\r\n"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0", "utf-16-le"),
    (b"\0<", "utf-16-be"),
)
_find_declared = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""").match
_DECLARATION_BYTES = 256  # no declaration is longer
_find_odd_reference = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)").search
_find_lone = re.compile("[\ud800-\udfff]").search
# A carriage return in front of an opening tag is not part of a key.
_ODD = re.compile(
    r"&(?!(?:amp|lt|gt|quot|apos);)(?:#(?:x([0-9a-fA-F]{1,8})|([0-9]{1,9}));)?"
    r"|\r(?!\n|\s*<[^/])"
    "|[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]"
)
_PUT_ASIDE = re.compile("[\U0010f000-\U0010f83f]")
_find_open_end = re.compile(r"(?:&[#\w]{0,12}|\r\s{0,64}<?)\Z").search


class XmlRepair:
    """The text of one response for an XML parser, in chunks of any size.

    Blanks and a byte order mark before the text are dropped. `original` restores replaced characters.
    """

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._beginning = b""  # kept until the encoding is known
        self._has_begun = False
        self._rest = ""  # an end that may be the beginning of something odd
        self._has_put_aside = False

    def text(self, chunk: bytes, *, is_last: bool = False) -> str:
        """What can be read after the next `chunk`."""
        chunk = self._beginning + chunk
        if self._decoder is None and not is_last and not _shows_encoding(chunk):
            self._beginning = chunk
            return ""
        self._beginning = b""
        text = self._rest + self._decode(chunk, is_last=is_last)
        self._rest = ""
        if not self._has_begun:
            text = text.lstrip(_BEFORE)
            self._has_begun = bool(text)
        open_end = None if is_last else _find_open_end(text, max(0, len(text) - 80))
        if open_end:
            text, self._rest = text[: open_end.start()], open_end[0]
        if not _may_be_odd(text, chunk):
            return text
        return _ODD.sub(self._readable, text)

    def _decode(self, chunk: bytes, *, is_last: bool) -> str:
        if self._decoder is None:
            encoding = encoding_of(chunk)
            errors = "surrogatepass" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"
            self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        return self._decoder.decode(chunk, is_last)

    def _readable(self, match: re.Match[str]) -> str:
        hexadecimal, decimal = match.groups()
        if match[0] == "&":
            return "&amp;"
        if not (hexadecimal or decimal):
            number = ord(match[0])
        else:
            number = int(hexadecimal, 16) if hexadecimal else int(decimal)
            if _is_character(number):
                return match[0]
        self._has_put_aside = True
        return chr(_aside(number))

    def original(self, text: str) -> str:
        """The text as the store meant it."""
        return _PUT_ASIDE.sub(_taken_back, text) if self._has_put_aside else text


def _shows_encoding(beginning: bytes) -> bool:
    return len(beginning) >= _DECLARATION_BYTES or b">" in beginning


def encoding_of(beginning: bytes) -> str:
    """The encoding of a document: from its first bytes, else from its declaration, else UTF-8."""
    marked = next((encoding for mark, encoding in _MARKS if beginning.startswith(mark)), "")
    declared = _find_declared(beginning[:_DECLARATION_BYTES])
    if marked or not declared:
        return marked or "utf-8"
    try:
        encoding = codecs.lookup(declared[1].decode()).name
        reads_markup = codecs.getincrementaldecoder(encoding)().decode(b"<?", True) == "<?"
    except (LookupError, ValueError, TypeError, AssertionError):  # unknown, or no encoding of text
        return "utf-8"
    return encoding if reads_markup and encoding != "ascii" else "utf-8"  # UTF-16 was detected above


def as_utf8(body: bytes) -> bytes:
    """Convert a document of any encoding to UTF-8; bytes that are invalid in its encoding stay as they are."""
    encoding = encoding_of(body)
    if encoding == "utf-8":
        return body
    text = body.decode(encoding, "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape")
    return _without_encoding(text).encode(errors="surrogateescape")


def _without_encoding(text: str) -> str:
    """Remove the encoding declaration: the document is UTF-8 from now on."""
    return re.sub(r"""\A(\s*<\?xml[^>]*?)\s+encoding\s*=\s*["'][\w.:-]+["']""", r"\1", text, count=1)


def _may_be_odd(text: str, chunk: bytes) -> bool:
    """A quick check: nearly all responses are well-formed. Text held back from an earlier chunk starts with & or CR."""
    if len(chunk.translate(None, _CONTROLS)) != len(chunk) or text.startswith("\r") or _find_odd_reference(text):
        return True
    return not text.isascii() and ("\ufffe" in text or "\uffff" in text or bool(_find_lone(text)))


def _is_character(number: int) -> bool:
    """Whether XML 1.0 allows this character: https://www.w3.org/TR/xml/#charsets"""
    if number < 0x20:
        return number in (0x09, 0x0A, 0x0D)
    return number <= 0xD7FF or 0xE000 <= number <= 0xFFFD or 0x10000 <= number <= 0x10FFFF


def _aside(number: int) -> int:
    number = number if number <= 0x10FFFF else _NO_CHARACTER
    is_surrogate = 0xD800 <= number <= 0xDFFF
    return _SURROGATES + number - 0xD800 if is_surrogate else _OTHERS + (number & 0x3F)


def _taken_back(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < _OTHERS:
        return chr(number - _SURROGATES + 0xD800)
    low = number - _OTHERS
    return chr(low if low < 0x20 else _FIRST_NONCHARACTERS + low)
