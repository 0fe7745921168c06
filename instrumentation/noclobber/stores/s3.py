"""S3: objects by key, with the version that the store itself gives.

A versioned bucket names each state by its VersionId: a `chain`. Elsewhere the ETag stands for the content, since put A,
B, A gives the first ETag again: a keyed print of it is a `fingerprint`, the same on both sides whatever the ETag was
made of. Bodies are never touched, nor is a stream that the caller is going to read.

If-Match compares ETags, also in a versioned bucket; there the guard is told by the VersionId that this process last saw
with that ETag. A read or delete of one named old version says nothing of the object's present state.

Source: S3 API reference (PutObject, GetObject, conditional requests); contract 2.1; capture.md section 2.
"""

from collections import OrderedDict
from typing import Any, Final

from noclobber.access import Access, AttributeValue
from noclobber.contract import ABSENT, Attr, BaseSource, Guard, Op, Outcome, VersionKind
from noclobber.resources import quoted
from noclobber.stores.aws_call import Asked, Noted
from noclobber.versions import WEAK_WORD_MAX, fingerprint

__all__ = ["note", "resource_of"]

SYSTEM: Final = "aws.s3"
ETAGS_MAX: Final = 4096
RESULTS_MAX: Final = 64
_KEPT: Final[tuple[str, ...]] = (
    "Bucket", "Key", "VersionId", "IfMatch", "IfNoneMatch", "Range", "PartNumber", "Prefix", "Delimiter",
    "ContinuationToken", "StartAfter", "Marker",
)  # fmt: skip
_TOLD: Final[tuple[str, ...]] = ("ETag", "VersionId", "ContentLength", "DeleteMarker", "IsTruncated")

_version_ids: OrderedDict[tuple[str, str], str] = OrderedDict()
"""Object and ETag -> the VersionId last seen with it; used by the drain only."""


def note(asked: Asked) -> Noted | None:
    """What is kept of a call; None where it touches no object's content."""
    describe = _DESCRIBE.get(asked.operation)
    if describe is None or not all(isinstance(asked.params.get(each, ""), str) for each in ("Bucket", "Key")):
        return None  # the library will refuse it
    params = {name: asked.params[name] for name in _KEPT if name in asked.params}
    count = 1
    if asked.operation == "DeleteObjects":
        objects = (asked.params.get("Delete") or {}).get("Objects") or ()
        params["Objects"] = [(each["Key"], each.get("VersionId"), each.get("ETag")) for each in objects]
        count = len(params["Objects"])
    elif asked.operation == "CopyObject":
        params["CopySource"] = _source(asked.params.get("CopySource"))
        count = 2
    return Noted(asked.operation, params, count, describe, _keep) if count else None


def _keep(reply: Any) -> dict[str, Any]:
    kept = {name: reply[name] for name in _TOLD if name in reply}
    for name in ("CopyObjectResult", "CopySourceVersionId"):
        if name in reply:
            kept[name] = reply[name]
    if "Errors" in reply:
        kept["Errors"] = {each.get("Key"): each.get("Code") for each in reply["Errors"]}
    if "Deleted" in reply:
        kept["Marked"] = {each.get("Key") for each in reply["Deleted"] if each.get("DeleteMarker")}
    if "Contents" in reply:
        kept["Keys"] = [each["Key"] for each in reply["Contents"]]
    return kept


def resource_of(bucket: str, key: str) -> str:
    """The object's URI. A key that ends in a slash is one object: it must not read as all that lies below."""
    path = "/".join(map(quoted, key.split("/")))
    return f"s3://{quoted(bucket)}/" + (path[:-1] + "%2F" if path.endswith("/") else path)


def _of(noted: Noted) -> str:
    return resource_of(noted.params["Bucket"], noted.params["Key"])


# -- versions ------------------------------------------------------------------------------------------------------


def _state(resource: str, reply: dict[str, Any]) -> tuple[VersionKind, str] | None:
    """The version that a reply names."""
    version_id, etag = reply.get("VersionId"), reply.get("ETag")
    if version_id and version_id != "null":
        if etag:
            _version_ids[resource, _bare(etag)] = version_id
            _version_ids.move_to_end((resource, _bare(etag)))
            if len(_version_ids) > ETAGS_MAX:
                _version_ids.popitem(last=False)
        return VersionKind.CHAIN, version_id
    return (VersionKind.FINGERPRINT, fingerprint(_bare(etag).encode())) if etag else None


def _bare(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _version(access: Access, reply: dict[str, Any], name: str) -> None:
    state = _state(access.resource, reply)
    if state is not None:
        access.attributes[Attr.VERSION_KIND], access.attributes[name] = state


def _guard(access: Access, if_match: Any, if_none_match: Any = None) -> None:
    """What the store was told to compare."""
    attributes = access.attributes
    if if_none_match == "*":
        attributes[Attr.GUARD] = Guard.UNIQUE
        return
    if not isinstance(if_match, str):
        return
    attributes[Attr.GUARD] = Guard.VERSION
    if if_match == "*":
        return  # anything that is there: no version was compared
    known = _version_ids.get((access.resource, _bare(if_match)))
    kind = attributes.get(Attr.VERSION_KIND) or (VersionKind.CHAIN if known else VersionKind.FINGERPRINT)
    expected = known if kind == VersionKind.CHAIN else fingerprint(_bare(if_match).encode())
    if expected is None:  # a chain, and an ETag from elsewhere: nothing that a VersionId compares with
        attributes[Attr.VERSION_EXPECTED] = fingerprint(_bare(if_match).encode())
        return
    attributes[Attr.VERSION_KIND] = kind
    attributes[Attr.VERSION_EXPECTED] = attributes[Attr.VERSION_BASE] = expected
    attributes[Attr.VERSION_BASE_SOURCE] = BaseSource.EXPLICIT


# -- operations ----------------------------------------------------------------------------------------------------


def _read(noted: Noted) -> list[Access]:
    access = Access(Op.READ, _of(noted), SYSTEM)
    named = noted.params.get("VersionId")
    if named:  # one state of the past, which never changes
        access.resource += f"?versionId={quoted(named)}"
    if noted.reply is not None:
        _version(access, noted.reply, Attr.VERSION_READ)
        _size(access, noted)
    elif noted.failed is Outcome.NOT_FOUND:
        access.outcome = Outcome.NOT_FOUND
        if not named:
            access.attributes[Attr.VERSION_KIND] = VersionKind.FINGERPRINT
            access.attributes[Attr.VERSION_READ] = ABSENT
    else:
        access.outcome = noted.failed or Outcome.UNKNOWN
    return [access]


def _size(access: Access, noted: Noted) -> None:
    size = (noted.reply or {}).get("ContentLength")
    if isinstance(size, int) and not noted.params.keys() & {"Range", "PartNumber"}:
        access.attributes[Attr.SIZE] = size
        if size <= WEAK_WORD_MAX and access.attributes.get(Attr.VERSION_KIND) == VersionKind.FINGERPRINT:
            access.attributes[Attr.VERSION_WEAK] = True


def _write(noted: Noted) -> list[Access]:
    access = Access(Op.WRITE, _of(noted), SYSTEM, finds_base=noted.reply is not None)
    if noted.reply is not None:
        _version(access, noted.reply, Attr.VERSION_WRITTEN)
    _finish_write(access, noted)
    return [access]


def _delete(noted: Noted) -> list[Access]:
    marked = bool((noted.reply or {}).get("DeleteMarker"))
    access = _deleted(_of(noted), noted.params.get("VersionId"), versioned=marked)
    _finish_write(access, noted)
    return [access]


def _deleted(resource: str, named: str | None, *, versioned: bool) -> Access:
    if named:  # of one version: what is the present one afterwards is not told
        return Access(Op.UPDATE, resource, SYSTEM, attributes={Attr.PARTIAL: True}, remembered=False)
    kind = VersionKind.CHAIN if versioned else VersionKind.FINGERPRINT
    attributes: dict[str, AttributeValue] = {Attr.VERSION_KIND: kind, Attr.VERSION_WRITTEN: ABSENT}
    return Access(Op.DELETE, resource, SYSTEM, attributes=attributes, finds_base=True)


def _finish_write(access: Access, noted: Noted) -> None:
    _guard(access, noted.params.get("IfMatch"), noted.params.get("IfNoneMatch"))
    if Attr.GUARD in access.attributes and noted.failed is Outcome.NOT_FOUND:
        access.outcome = Outcome.REJECTED  # If-Match, and nothing there
        access.attributes[Attr.VERSION_READ] = ABSENT
    elif noted.failed is not None:
        access.outcome = Outcome.ERROR if noted.failed is Outcome.NOT_FOUND else noted.failed


def _delete_many(noted: Noted) -> list[Access]:
    reply = noted.reply or {}
    accesses = []
    for key, named, etag in noted.params["Objects"]:
        resource = resource_of(noted.params["Bucket"], key)
        access = _deleted(resource, named, versioned=key in reply.get("Marked", ()))
        _guard(access, etag)
        code = reply.get("Errors", {}).get(key)
        if noted.failed is not None:
            access.outcome = noted.failed
        elif code is not None:
            access.outcome = Outcome.REJECTED if code == "PreconditionFailed" else Outcome.ERROR
        accesses.append(access)
    return accesses


def _copy(noted: Noted) -> list[Access]:
    """The store reads one object and writes another; the reply names the source's version only if it has an id."""
    reply = noted.reply or {}
    bucket, key, named = noted.params["CopySource"]
    source = Access(Op.READ, resource_of(bucket, key), SYSTEM, noted.failed or Outcome.OK, remembered=False)
    if named:
        source.resource += f"?versionId={quoted(named)}"
    _version(source, {"VersionId": reply.get("CopySourceVersionId")}, Attr.VERSION_READ)
    target = Access(Op.WRITE, _of(noted), SYSTEM, finds_base=noted.reply is not None)
    made = {"ETag": (reply.get("CopyObjectResult") or {}).get("ETag"), "VersionId": reply.get("VersionId")}
    _version(target, made, Attr.VERSION_WRITTEN)
    _finish_write(target, noted)
    return [source, target]


def _source(given: Any) -> tuple[str, str, str | None]:
    """Bucket, key and version of a copy's source, which is a table or `bucket/key?versionId=..`."""
    from urllib.parse import unquote

    if isinstance(given, dict):
        return given["Bucket"], given["Key"], given.get("VersionId")
    path, _, named = str(given).partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key, named or None


def _list(noted: Noted) -> list[Access]:
    """Which keys there are; no versions, since the ETags listed do not compare with a versioned bucket's ids."""
    params, reply = noted.params, noted.reply or {}
    asked = "\0".join(f"{name}={params.get(name) or ''}" for name in ("Prefix", "Delimiter"))
    whole = not params.get("Prefix") and not params.get("Delimiter")
    keys = reply.get("Keys", [])
    bucket = params["Bucket"]
    attributes: dict[str, AttributeValue] = {
        Attr.PREDICATE: "*" if whole else fingerprint(asked.encode()),
        Attr.RESULT_RESOURCES: tuple(resource_of(bucket, key) for key in keys[:RESULTS_MAX]),
        Attr.RESULT_COUNT: len(keys),
    }
    paged = reply.get("IsTruncated") or any(params.get(each) for each in ("ContinuationToken", "StartAfter", "Marker"))
    if paged or len(keys) > RESULTS_MAX:
        attributes[Attr.PARTIAL] = True
    outcome = noted.failed or Outcome.OK
    return [Access(Op.SCAN, f"s3://{quoted(bucket)}/", SYSTEM, outcome, attributes=attributes)]


_DESCRIBE: Final = {
    "GetObject": _read,
    "HeadObject": _read,
    "PutObject": _write,
    "CompleteMultipartUpload": _write,
    "CopyObject": _copy,
    "DeleteObject": _delete,
    "DeleteObjects": _delete_many,
    "ListObjects": _list,
    "ListObjectsV2": _list,
}
