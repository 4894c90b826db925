# Copyright (c) 2026 edgeops.snowsync contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request from its head to the last byte of its answer: routing, authentication, faults, errors, the log."""

from __future__ import annotations

import itertools
import secrets
import time
import traceback
from collections.abc import Mapping

from . import admin, buckets, multipart, objects
from .call import Call, Handler, Store, as_the_store_writes, error_document
from .connection import Connection, Request, Response
from .faults import Plan, Rule
from .model import ConnectionLost, S3Error
from .requestlog import Record
from .signature import verify

DRAIN_LIMIT = 8 * 1024 * 1024
Route = tuple[str, Handler]

# (method, sub-resource of the query or "") -> operation
BUCKET_ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", ""): ("ListObjects", buckets.list_objects),
    ("GET", "location"): ("GetBucketLocation", buckets.get_location),
    ("GET", "versioning"): ("GetBucketVersioning", buckets.get_versioning),
    ("GET", "uploads"): ("ListMultipartUploads", multipart.list_uploads),
    ("HEAD", ""): ("HeadBucket", buckets.head_bucket),
    ("PUT", ""): ("CreateBucket", buckets.create_bucket),
    ("DELETE", ""): ("DeleteBucket", buckets.delete_bucket),
    ("POST", "delete"): ("DeleteObjects", buckets.delete_objects),
}
OBJECT_ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", ""): ("GetObject", objects.get_object),
    ("GET", "uploadId"): ("ListParts", multipart.list_parts),
    ("GET", "tagging"): ("GetObjectTagging", objects.get_tagging),
    ("HEAD", ""): ("HeadObject", objects.head_object),
    ("PUT", ""): ("PutObject", objects.put_object),
    ("PUT", "uploadId"): ("UploadPart", multipart.upload_part),
    ("PUT", "tagging"): ("PutObjectTagging", objects.put_tagging),
    ("POST", "uploads"): ("CreateMultipartUpload", multipart.create_upload),
    ("POST", "uploadId"): ("CompleteMultipartUpload", multipart.complete_upload),
    ("DELETE", ""): ("DeleteObject", objects.delete_object),
    ("DELETE", "uploadId"): ("AbortMultipartUpload", multipart.abort_upload),
    ("DELETE", "tagging"): ("DeleteObjectTagging", objects.delete_tagging),
}
SUBRESOURCES = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)


def route(request: Request) -> Route:
    """The operation's name and handler."""
    if not request.bucket:
        if request.method == "GET":
            return "ListBuckets", buckets.list_buckets
        return "Unknown", _method_not_allowed
    table = OBJECT_ROUTES if request.key else BUCKET_ROUTES
    wanted = next((name for name in request.query if name in SUBRESOURCES), "") if request.query else ""
    found = table.get((request.method, wanted))
    if found is not None:
        name, handler = found
        if name == "PutObject" and "x-amz-copy-source" in request.headers:
            name = "CopyObject"
        elif name == "ListObjects" and request.query.get("list-type") == "2":
            name = "ListObjectsV2"
        return name, handler
    return "Unknown", _not_implemented if wanted else _method_not_allowed


def _not_implemented(_call: Call) -> Response:
    raise S3Error("NotImplemented")


def _method_not_allowed(_call: Call) -> Response:
    raise S3Error("MethodNotAllowed")


def _path_forbidden(_call: Call) -> Response:
    raise S3Error("SecondLevelDomainForbidden", "Please use virtual hosted style to access.", status=403)


class Service:
    """Serves the requests of all connections of one store."""

    def __init__(self, store: Store, control: admin.Control) -> None:
        self.store = store
        self.control = control
        self._request_ids = itertools.count(1)
        self._id_prefix = secrets.token_hex(4).upper()

    def serve(self, connection: Connection, *, trusted: bool) -> None:
        """All requests of one connection; returns when it ends."""
        while True:
            try:
                request = connection.read_request()
            except S3Error as error:
                self._refuse_head(connection, error)
                return
            if request is None:
                return
            if request.raw_path.startswith("/_sim/") and trusted:
                response = admin.handle(self.control, request, connection)
                response.close = response.close or request.wants_close
                connection.send(response, "sim", head_only=request.method == "HEAD")
                if response.close:
                    return
            elif not self._serve_s3(connection, request):
                return

    def _refuse_head(self, connection: Connection, error: S3Error) -> None:
        response = error_document(error, "", "none")
        response.close = True
        connection.send(response, "none", head_only=False)

    def _serve_s3(self, connection: Connection, request: Request) -> bool:
        """False when the connection must not be used again."""
        started = time.monotonic()
        is_addressed = self._address(request)
        operation, handler = route(request) if is_addressed else ("Unknown", _path_forbidden)
        record = Record(
            0, time.time(), request.method, operation, request.bucket, request.key, connection=connection.number
        )
        record.content_md5 = request.headers.get("content-md5", "")
        log = self.store.log
        log.begin(record)
        call = Call(self.store, request, connection, record)
        request_id = f"{self._id_prefix}{next(self._request_ids):08X}"
        try:
            response = self._answer(call, handler, operation, request_id)
            try:
                record.status = response.status
                log.answering(record)
                connection.send(response, request_id, head_only=request.method == "HEAD")
            finally:
                if response.entry is not None:
                    self.store.storage.release(response.entry)
            record.completed = True
        finally:
            record.bytes_in, record.bytes_out = connection.received, connection.sent
            record.seconds = time.monotonic() - started
            log.end(record)
        if response.close:
            connection.linger()
        return not response.close

    def _address(self, request: Request) -> bool:
        """Take the bucket from Host where this store has it there; False: it is not."""
        domain = self.store.switches.virtual_domain
        host = request.headers.get("host", "").partition(":")[0]
        if not domain:
            return True
        if not host.endswith(f".{domain}"):
            return False
        request.take_bucket(host.removesuffix(f".{domain}"))
        return True

    def _answer(self, call: Call, handler: Handler, operation: str, request_id: str) -> Response:
        request, connection = call.request, call.connection
        try:
            self._disturb(call, operation)
            self._authenticate(call)
            self._check_headers(request)
            self._check_key(call)
            if call.plan is not None:
                self._replace_before(call)
                if rule := call.plan.first("blanks"):
                    connection.send_blanks(request_id, rule.seconds or 0.0, rule.every)
            response: Response = handler(call)
            if call.plan is not None:
                response = self._spoil(call, response)
        except S3Error as error:
            call.record.code = error.code
            response = error_document(error, request.raw_path, request_id)
            if error.status == 304:
                response = Response(304, error.headers)
        except (ConnectionLost, OSError):
            raise
        except Exception:
            traceback.print_exc()
            response = error_document(S3Error("InternalError", "a defect of the simulator"), "", request_id)
        as_the_store_writes(response, self.store.switches)
        response.close = response.close or request.wants_close or not self._drained(call, connection)
        return response

    # -- faults ----------------------------------------------------------------------------------------------------

    def _disturb(self, call: Call, operation: str) -> None:
        """What happens to a request before anything is looked at."""
        if self.store.switches.latency:
            call.connection.stall(self.store.switches.latency)
        if not self.store.faults.active:
            return
        request = call.request
        access_key = request.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]
        plan = self.store.faults.match(request.method, operation, request.bucket, request.key, access_key)
        if plan is None:
            return
        call.plan = call.connection.plan = plan
        call.record.faults = [rule.id for rule in plan.rules]
        for rule in plan.all("latency"):
            call.connection.stall(rule.seconds or 0.0)
        self._wreck(call, plan, done=False)

    def _wreck(self, call: Call, plan: Plan, *, done: bool) -> None:
        if rule := plan.first("stall", "headers", done=done):
            call.connection.stall(rule.seconds)
        if (rule := plan.first("cut", "headers", done=done)) and (done or rule.after is None):
            call.connection.abandon(reset=rule.reset)
        if rule := plan.first("status", done=done):
            raise _error_of(rule)
        if rule := plan.first("page", done=done):
            title = f"{rule.status} {rule.message}"
            page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1><hr>nginx</body></html>"
            raise S3Error("Page", status=rule.status, page=page)

    def _replace_before(self, call: Call) -> None:
        rule = call.plan.first("replace") if call.plan else None
        if rule is not None and rule.after is None:
            objects.replace_object(call, rule.size)

    def _spoil(self, call: Call, response: Response) -> Response:
        plan = call.plan
        assert plan is not None
        try:
            self._wreck(call, plan, done=True)
        except (S3Error, ConnectionLost):
            if response.entry is not None:
                self.store.storage.release(response.entry)
            raise
        for rule in plan.all("headers"):
            lower = {name.lower() for name in (*rule.set, *rule.remove)}
            response.headers = {name: value for name, value in response.headers.items() if name.lower() not in lower}
            response.headers.update(rule.set)
            response.added.update(rule.add)
        return response

    # -- checks ----------------------------------------------------------------------------------------------------

    def _authenticate(self, call: Call) -> None:
        store, request = self.store, call.request
        call.identity = verify(
            request.method,
            request.raw_path,
            request.pairs,
            request.headers,
            store.secrets,
            now=store.now(),
            region=store.switches.region,
            check_skew=store.switches.check_skew,
        )
        call.record.access_key = call.identity.access_key

    def _check_headers(self, request: Request) -> None:
        if not self.store.switches.utf8_headers and not all(map(str.isascii, request.headers.values())):
            raise S3Error("SignatureDoesNotMatch")

    def _check_key(self, call: Call) -> None:
        key = call.request.key
        limit = call.switches.key_limit
        size = len(key.encode(errors="surrogateescape"))
        if size > limit:
            raise S3Error("KeyTooLongError", extra={"Size": str(size), "MaxSizeAllowed": str(limit)})
        if call.switches.utf8_keys and any("\udc80" <= character <= "\udcff" for character in key):
            raise S3Error("InvalidURI", "the key is not UTF-8")

    def _drained(self, call: Call, connection: Connection) -> bool:
        """Reads what the operation left of the body; False if the connection cannot go on."""
        headers = call.request.headers
        if call.payload_consumed or ("content-length" not in headers and "transfer-encoding" not in headers):
            return True
        length = int(headers.get("content-length", "0"))
        if length == 0 and "transfer-encoding" not in headers:
            return True
        if connection.continue_pending or connection.received or length > DRAIN_LIMIT:
            return False
        if "transfer-encoding" in headers:
            return False
        for _ in connection.read_blocks(length):
            pass
        return True


def _error_of(rule: Rule) -> S3Error:
    headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
    return S3Error(rule.code, rule.message, status=rule.status, headers={**headers, **rule.set})
