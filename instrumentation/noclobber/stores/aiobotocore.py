"""aiobotocore, and so aioboto3: botocore's calls as coroutines, told as botocore's are.

`AioBaseClient` has the one method that makes every call of its own, so botocore's is never reached. What a call is,
its services know (`noclobber.stores.botocore`); streams of bodies are left as they are. The tasks that the HTTP client
below starts are part of the call: nobody's work is handed on to them.

Source: aiobotocore/client.py of aiobotocore 2.13 to 3.10.
"""

from types import ModuleType
from typing import Any, Final

from noclobber import strands
from noclobber.bootstrap.registry import Integration
from noclobber.stores import dynamodb
from noclobber.stores.aws_call import Noted
from noclobber.stores.botocore import Begun, begin, end, exactly, is_denied
from noclobber.stores.wrapping import Wrapping, knowing

__all__ = ["INTEGRATION"]

LIBRARY: Final = "aiobotocore"
_wrapping = Wrapping(LIBRARY)


def install(library: ModuleType) -> None:
    """Wrap the method that makes every call."""
    with knowing(LIBRARY):
        _wrapping.wrap([(library.AioBaseClient, "_make_api_call", _calling)])


def uninstall() -> None:
    """Put back what was there."""
    _wrapping.restore()


def _calling(original: Any) -> Any:
    async def make_api_call(self: Any, operation_name: Any, api_params: Any) -> Any:
        begun = begin(LIBRARY, self, operation_name, api_params)
        strand = strands.current()
        strand.suppressed += 1
        try:
            if begun is None:
                return await original(self, operation_name, api_params)
            return await _recorded(original, self, operation_name, api_params, begun)
        finally:
            strand.suppressed -= 1

    return make_api_call


async def _recorded(original: Any, client: Any, operation: Any, params: Any, begun: Begun) -> Any:
    try:
        reply = await _asking(original, client, operation, params, begun[1])
    except BaseException as error:
        end(LIBRARY, begun, None, error)
        raise
    end(LIBRARY, begun, reply, None)
    return dynamodb.plain(reply) if begun[1].exact else reply


async def _asking(original: Any, client: Any, operation: Any, params: Any, noted: Noted) -> Any:
    """Make the call: in its exact form where that is wanted, and plainly after all where that is not allowed."""
    exact = exactly(client, operation, params)
    if exact is not None:
        try:
            reply = await original(client, operation, exact)
            noted.exact = True
            return reply
        except Exception as error:
            if not is_denied(error):
                raise
    return await original(client, operation, params)


INTEGRATION: Final = Integration(LIBRARY, install, uninstall)
