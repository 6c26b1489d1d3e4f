"""nftables over netlink: transactions in, dumps out; no nft binary, no library.

A `Transaction` collects operations on one table; `commit` hands them to the kernel as one batch, which is applied whole
or not at all. `Nftables` is the door; KernelNftables speaks to the kernel, fake.FakeNftables is a model of it.
"""

from .decode import read_elements
from .encode import batches, encode
from .kernel import KernelNftables
from .model import (
    IP,
    IP6,
    KINDS,
    VERDICT,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    AddTable,
    Data,
    DeleteChain,
    DeleteElements,
    DeleteSet,
    DeleteTable,
    FlushChain,
    FlushSet,
    Hook,
    Nftables,
    Operation,
    Refused,
    Set,
    Transaction,
    describe,
)

__all__ = [
    "IP",
    "IP6",
    "KINDS",
    "VERDICT",
    "AddChain",
    "AddElements",
    "AddRule",
    "AddSet",
    "AddTable",
    "Data",
    "DeleteChain",
    "DeleteElements",
    "DeleteSet",
    "DeleteTable",
    "FlushChain",
    "FlushSet",
    "Hook",
    "KernelNftables",
    "Nftables",
    "Operation",
    "Refused",
    "Set",
    "Transaction",
    "batches",
    "describe",
    "encode",
    "read_elements",
]
