"""Calls out of the API server: admission and conversion webhooks.

`caller.Caller` posts one review to what a clientConfig names; who asks wraps its CallFailed in words of its own.
`dispatch.Webhooks` is admission's: which webhooks a write concerns, what they are asked, what becomes of the answer.
"""

from .caller import Caller, CallFailed, Connect
from .target import Target

__all__ = ["CallFailed", "Caller", "Connect", "Target"]
