"""Two agents add to one balance that AWS keeps, in one event loop; nothing here knows of noclobber.

Arguments: the service (`s3`, `dynamodb`, `sqs`), how (`plain` or `safe`), and the server's URL.
"""

import asyncio
import json
import sys
from typing import Any

from aiobotocore.session import get_session
from botocore.exceptions import ClientError

SERVICE, HOW, URL = sys.argv[1:]
TIMEOUT_S = 20
OBJECT = {"Bucket": "agents", "Key": "balance.json"}
ITEM = {"TableName": "accounts", "Key": {"id": {"S": "acct-1"}}}


def client(service: str) -> Any:
    """A client of one agent."""
    return get_session().create_client(
        service, endpoint_url=URL, region_name="eu-west-1", aws_access_key_id="id", aws_secret_access_key="none"
    )


async def on_s3(s3: Any, amount: int, meet: Any) -> None:
    """One agent that adds to what an object holds; the safe one asks for the object that it read."""
    while True:
        got = await s3.get_object(**OBJECT)
        balance = json.loads(await got["Body"].read())["balance"]
        await meet()
        guard = {"IfMatch": got["ETag"]} if HOW == "safe" else {}
        try:
            await s3.put_object(**OBJECT, Body=json.dumps({"balance": balance + amount}), **guard)
            return
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise


async def on_dynamodb(dynamodb: Any, amount: int, meet: Any) -> None:
    """One agent that adds to an item; the safe one insists on the version that it read."""
    while True:
        item = (await dynamodb.get_item(**ITEM))["Item"]
        await meet()
        guard = {"ConditionExpression": "version = :v", "ExpressionAttributeValues": {":v": item["version"]}}
        new = {name: {"N": str(int(item[name]["N"]) + by)} for name, by in (("balance", amount), ("version", 1))}
        try:
            await dynamodb.put_item(TableName="accounts", Item={**item, **new}, **(guard if HOW == "safe" else {}))
            return
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


async def on_sqs(sqs: Any, _amount: int, meet: Any) -> None:
    """One worker that counts what a task asks for; the unsafe one's lease runs out while it works."""
    queue = (await sqs.get_queue_url(QueueName="tasks"))["QueueUrl"]
    async with turns:  # the second asks once the first has its answer
        lease = 60 if HOW == "safe" else 0
        got = await sqs.receive_message(
            QueueUrl=queue, VisibilityTimeout=lease, AttributeNames=["ApproximateReceiveCount"]
        )
    await meet()
    async with client("dynamodb") as dynamodb:
        for message in got.get("Messages", ()):
            await dynamodb.update_item(
                TableName="accounts", Key={"id": {"S": "total"}}, UpdateExpression="ADD orders :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )  # fmt: skip
            await sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


turns = asyncio.Lock()
AGENTS = {"s3": on_s3, "dynamodb": on_dynamodb, "sqs": on_sqs}


async def act(amount: int, turn: int, read: list[asyncio.Event]) -> None:
    """One agent, in a task; it meets the other one between its first read and its first write."""

    async def meet() -> None:
        read[turn].set()
        await read[1 - turn].wait()

    async with client(SERVICE) as made:
        await AGENTS[SERVICE](made, amount, meet)


async def both() -> None:
    """Both, in one loop."""
    read = [asyncio.Event(), asyncio.Event()]
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(act(amount, turn, read) for turn, amount in enumerate((50, -20))))


asyncio.run(both())
