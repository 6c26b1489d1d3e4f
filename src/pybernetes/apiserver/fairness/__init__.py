"""Fair shares of the server: who waits, who is next, who is told to come back later.

`levels` says which priority level a request has (Kubernetes' suggested levels, fixed), `queues` decides who is next
(pure), `gate` is the filter: it lets requests through at once while there is room, and makes them wait in turn else.
"""

from .gate import Gate
from .metrics import FlowMetrics

__all__ = ["FlowMetrics", "Gate"]
