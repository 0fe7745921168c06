"""Two agents add to one balance that AWS keeps; nothing here knows of noclobber.

Arguments: the service (`s3`, `versioned`, `dynamodb`, `transaction`, `locked`, `sqs`), how (`plain` or `safe`), and the
server's URL.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import boto3
from botocore.exceptions import ClientError
from python_dynamodb_lock.python_dynamodb_lock import DynamoDBLockClient

SERVICE, HOW, URL = sys.argv[1:]
TIMEOUT_S = 20
NAMES = {"Bucket": "agents" if SERVICE == "s3" else "agents-versioned", "Key": "balance.json"}


def client(service: str) -> object:
    """A client of one agent."""
    return boto3.client(
        service, endpoint_url=URL, region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key="none"
    )


def on_s3(amount: int, wait: Callable[[], object]) -> None:
    """One agent that adds to what an object holds; the safe one asks for the object that it read."""
    s3 = client("s3")
    while True:
        got = s3.get_object(**NAMES)
        balance = json.loads(got["Body"].read())["balance"]
        wait()
        body, guard = json.dumps({"balance": balance + amount}), {"IfMatch": got["ETag"]} if HOW == "safe" else {}
        try:
            s3.put_object(**NAMES, Body=body, **guard)
            return
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise


def on_dynamodb(amount: int, wait: Callable[[], object]) -> None:
    """One agent that adds to an item; the safe one insists on the version that it read."""
    dynamodb = client("dynamodb")
    while True:
        item = dynamodb.get_item(TableName="accounts", Key={"id": {"S": "acct-1"}})["Item"]
        wait()
        guard = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": item["version"]}}
        changed = {
            **item,
            "balance": {"N": str(int(item["balance"]["N"]) + amount)},
            "version": {"N": str(int(item["version"]["N"]) + 1)},
        }
        try:
            dynamodb.put_item(TableName="accounts", Item=changed, **(guard if HOW == "safe" else {}))
            return
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def on_transaction(amount: int, wait: Callable[[], object]) -> None:
    """One agent that moves money between two items; the safe one insists on both that it read."""
    dynamodb = client("dynamodb")
    keys = [{"id": {"S": name}} for name in ("acct-2", "acct-3")]
    while True:
        got = dynamodb.batch_get_item(RequestItems={"accounts": {"Keys": keys, "ConsistentRead": True}})
        wait()
        puts = []
        for item in got["Responses"]["accounts"]:
            change = amount if item["id"]["S"] == "acct-2" else -amount
            balance, version = item["balance"]["N"], item["version"]["N"]
            new = {"balance": {"N": str(int(balance) + change)}, "version": {"N": str(int(version) + 1)}}
            guard = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": item["version"]}}
            put = {"TableName": "accounts", "Item": {**item, **new}, **(guard if HOW == "safe" else {})}
            puts.append({"Put": put})
        try:
            dynamodb.transact_write_items(TransactItems=puts)
            return
        except ClientError as error:
            if error.response["Error"]["Code"] != "TransactionCanceledException":
                raise


def on_dynamodb_under_a_lock(amount: int, wait: Callable[[], object]) -> None:
    """One agent that adds to an item; the safe one takes a lock first."""
    resource = boto3.resource(
        "dynamodb", endpoint_url=URL, region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key="none"
    )
    accounts, key = resource.Table("accounts"), {"id": "acct-4"}
    locks = DynamoDBLockClient(resource, table_name="locks", heartbeat_period=timedelta(milliseconds=300))
    if HOW == "safe":
        wait()
        lock = locks.acquire_lock("acct-4", retry_timeout=timedelta(seconds=TIMEOUT_S))
    balance = accounts.get_item(Key=key)["Item"]["balance"]
    wait()
    if HOW == "safe":
        time.sleep(0.5)  # longer than a heartbeat: the lease is renewed meanwhile
    accounts.put_item(Item={**key, "balance": balance + amount})
    if HOW == "safe":
        lock.release(best_effort=False)
    locks.close()


def on_sqs(_amount: int, wait: Callable[[], object]) -> None:
    """One worker that counts what a task asks for; the unsafe one's lease runs out while it works."""
    sqs, dynamodb = client("sqs"), client("dynamodb")
    queue = sqs.get_queue_url(QueueName="tasks")["QueueUrl"]
    with turns:  # the second asks once the first has its answer
        got = sqs.receive_message(
            QueueUrl=queue,
            VisibilityTimeout=60 if HOW == "safe" else 0,
            AttributeNames=["ApproximateReceiveCount"],
        )
    wait()
    for message in got.get("Messages", ()):
        dynamodb.update_item(
            TableName="accounts",
            Key={"id": {"S": "total"}},
            UpdateExpression="ADD orders :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


turns = threading.Lock()
AGENTS = {
    "s3": on_s3,
    "versioned": on_s3,
    "dynamodb": on_dynamodb,
    "transaction": on_transaction,
    "locked": on_dynamodb_under_a_lock,
    "sqs": on_sqs,
}


def act(amount: int, read: threading.Barrier) -> None:
    """One agent, in a thread; it meets the other one between its first read and its first write."""
    met: list[int] = []

    def wait() -> None:
        if not met:
            met.append(read.wait(TIMEOUT_S))

    AGENTS[SERVICE](amount, wait)


barrier = threading.Barrier(2)
threads = [threading.Thread(target=act, args=(amount, barrier)) for amount in (50, -20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(TIMEOUT_S)
