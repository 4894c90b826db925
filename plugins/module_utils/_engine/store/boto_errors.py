# Copyright (c) 2026 edgeops.snowsync contributors
# BSD-2-Clause license (see LICENSES/BSD-2-Clause.txt or https://opensource.org/license/bsd-2-clause)
# SPDX-License-Identifier: BSD-2-Clause
"""Translates botocore's exceptions into StoreError, by class name, so that botocore need not be imported."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import StoreError, Trouble
from .answers import not_s3, redirected, refused
from .remedies import AskedWith, Refusal, told_region

_KINDS: dict[str, tuple[Trouble, str]] = {
    "SSLError": (Trouble.TLS, "the TLS handshake failed; does `ca_bundle` contain the CA that signed the certificate?"),
    "ProxyConnectionError": (Trouble.REFUSED, "cannot connect to the proxy"),
    "ConnectTimeoutError": (Trouble.TIMEOUT, "the endpoint does not respond"),
    "ReadTimeoutError": (Trouble.TIMEOUT, "the endpoint accepted the request but did not respond, or stalled"),
    "EndpointConnectionError": (Trouble.REFUSED, "cannot connect to the endpoint"),
    "IncompleteReadError": (Trouble.BROKEN, "the response ended early"),
    "HTTPClientError": (Trouble.BROKEN, "the connection broke"),
    "HTTPError": (Trouble.BROKEN, "the connection broke"),
    "ParamValidationError": (Trouble.UNSUPPORTED, "the object's key or headers cannot be sent"),
}


def store_error(action: str, error: Exception, *, of_object: bool, asked: AskedWith) -> StoreError:
    """The StoreError for an exception of botocore, urllib3 or the network; `asked`: the options of the request."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "ClientError" in kinds:
        return _refused(action, error, of_object=of_object, asked=asked)
    if "ResponseParserError" in kinds or "KeyError" in kinds:  # not XML, or XML without required elements
        return not_s3(action, 200, b"")
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return StoreError(Trouble.DNS, action, "the endpoint's host name does not resolve", code=kinds[0])
    if "SSLError" in kinds and isinstance(causes[-1], FileNotFoundError):
        return StoreError(Trouble.TLS, action, "the CA file does not exist; check `ca_bundle`", code=kinds[0])
    trouble, detail = next((_KINDS[kind] for kind in kinds if kind in _KINDS), (Trouble.OTHER, "the request failed"))
    if isinstance(error, OSError) and trouble is Trouble.OTHER:
        trouble, detail = _KINDS["HTTPClientError"]
    return StoreError(trouble, action, f"{detail} ({causes[-1]})", code=kinds[0])


def answer_headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    """The HTTP headers of a response, names in lower case."""
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The exception and its causes; botocore keeps the network's exception as an argument, not as its cause."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        wrapped = getattr(error, "kwargs", {}).get("error")
        reason = getattr(error, "reason", None)
        inner = next((item for item in (wrapped, reason) if isinstance(item, BaseException)), None)
        error = inner or error.__cause__ or error.__context__


def _refused(action: str, error: Any, *, of_object: bool, asked: AskedWith) -> StoreError:
    answer = error.response
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # botocore gives None for an empty element.
    told = {name: text or "" for name, text in answer.get("Error", {}).items()}
    code = told.get("Code", "")
    bodyless = error.operation_name in ("HeadObject", "HeadBucket")
    if code.isdigit():  # botocore puts the status there when the body holds no S3 error
        code = ""
    headers = answer_headers(answer)
    location, where = headers.get("location", ""), headers.get("x-amz-bucket-region", "")
    if not code and 300 <= status < 400 and location:
        return redirected(action, status, location)
    if not code and not bodyless and not 300 <= status < 400 and status < 500:
        return not_s3(action, status, b"")
    message = told.get("Message", "") if code else ""
    refusal = Refusal(code, message, told.get("Region") or told_region(message), told.get("Endpoint", ""))
    return refused(action, status, refusal, where, location, of_object=of_object, asked=asked, bodyless=bodyless)
