"""Advice for files and object stores.

Source: Amazon S3 and DynamoDB documentation (conditional writes).
"""

from typing import Final

from noclobber.contract import Kind

__all__ = ["ADVICE"]

ADVICE: Final[dict[Kind, tuple[str, str]]] = {
    Kind.LOST_UPDATE: (
        "Make the write conditional on what was read (S3: IfMatch; DynamoDB: ConditionExpression; a file: compare its "
        "hash under a lock, since an atomic rename replaces the new content just as well). On a refusal read again.",
        "s3.put_object(Bucket=bucket, Key=key, Body=new, IfMatch=etag)   # 412: somebody was faster",
    ),
    Kind.CHECK_THEN_ACT: (
        "Write only if nothing is there yet (S3: IfNoneMatch; DynamoDB: attribute_not_exists; a file: open it in mode "
        "'x'), and stop on a refusal.",
        "s3.put_object(Bucket=bucket, Key=key, Body=new, IfNoneMatch='*')   # 412: somebody was first",
    ),
    Kind.BLIND_OVERWRITE: (
        "Say what may be replaced (S3: IfMatch, or IfNoneMatch for what must be new); a file: open it in mode 'x'.",
        "s3.put_object(Bucket=bucket, Key=key, Body=new, IfNoneMatch='*')   # 412: somebody was first",
    ),
}
