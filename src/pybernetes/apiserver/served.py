"""One row of the scheme with all that serving it needs: how its records are read, converted, written."""

from collections.abc import Sequence

from pybernetes.api.errors import TooLarge
from pybernetes.api.kinds import Strategy
from pybernetes.api.objects import Obj
from pybernetes.api.resources import Resource
from pybernetes.api.scheme import Scheme
from pybernetes.store import Record

from .codec import Codec, stored
from .conversion import Converter

_MOST_BYTES = 1_572_864
"""The largest stored object, as etcd's default has it."""


class Served:
    """One row with all that serving it needs. `converter` is given for a custom one."""

    __slots__ = ("codec", "converter", "row", "scheme", "strategy")

    def __init__(self, row: Resource, scheme: Scheme, converter: Converter | None = None) -> None:
        self.row = row
        self.scheme = scheme
        self.converter = converter
        self.strategy: Strategy = scheme.strategy(row)
        elsewhere = row.stored_as is not None and not row.custom
        convert = (lambda obj: scheme.from_storage(obj, row)) if elsewhere else None
        self.codec = Codec(row, convert)

    async def shown(self, records: Sequence[Record]) -> Sequence[Record]:
        """Records as the codec reads them: custom ones in the row's version, by its schema. Raises ConversionFailed."""
        return records if self.converter is None else await self.converter.records(records, self.row)

    async def one(self, record: Record) -> Record:
        """Of one record."""
        return record if self.converter is None else (await self.converter.records([record], self.row))[0]

    async def kept(self, obj: Obj) -> bytes:
        """The bytes to store of an object of the row. Raises TooLarge, ConversionFailed."""
        storage = self.row.storage
        if self.converter is None:
            return checked(stored(self.scheme.to_storage(obj, self.row), storage))
        return checked(stored(await self.converter.convert(obj, storage.api_version), storage))

    async def in_version(self, obj: Obj, row: Resource) -> Obj:
        """An object of this row as another row of the same storage shows it."""
        if self.converter is not None:
            return await self.converter.convert(obj, row.api_version)
        return self.scheme.from_storage(self.scheme.to_storage(obj, self.row), row)

    def sibling(self, api_version: str) -> Resource | None:
        """The row of the same kind and storage in another version of the group."""
        found = self.scheme.find_kind(api_version, self.row.kind)
        return found if found is not None and found.storage == self.row.storage else None

    async def written(self, record: Record) -> Record:
        """A record just written from an object of the row, as it is answered."""
        if self.converter is None:
            return record
        self.converter.note(record, self.row)
        return await self.one(record)

    def unchanged(self, record: Record, seen: Record) -> bool:
        """Whether a write of what was seen would store what is stored."""
        return self.converter is None or self.converter.is_settled(record, seen, self.row)


def checked(value: bytes) -> bytes:
    """Raises TooLarge."""
    if len(value) > _MOST_BYTES:
        raise TooLarge("etcdserver: request is too large")
    return value
