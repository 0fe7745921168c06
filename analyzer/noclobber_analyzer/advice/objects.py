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
}
