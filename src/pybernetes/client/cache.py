"""Objects by key, with indexes: what reconcilers read. Read-only for everybody but the informer that fills it.

Everything is synchronous, so an observer never sees half a change. Objects are shared: copy before you edit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from pybernetes.api.objects import Key, Obj, key_of

Index = Callable[[Obj], Iterable[str]]
"""The values under which an object is found in an index."""


class Cache(Protocol):
    """What a reconciler sees."""

    def get(self, key: Key) -> Obj | None:
        """The object under a key."""
        ...

    def select(self, namespace: str = "", where: Callable[[Obj], bool] | None = None) -> Sequence[Obj]:
        """All objects, or those of one namespace, that `where` accepts."""
        ...

    def indexed(self, index: str, value: str) -> Sequence[Obj]:
        """The objects an index has under a value; KeyError for an index nobody declared."""
        ...


class IndexedCache:
    """The working cache. The namespace is always an index; others come by name, at any time."""

    def __init__(self, objects: Iterable[Obj] = (), *, indexes: Mapping[str, Index] | None = None) -> None:
        self._objects: dict[Key, Obj] = {}
        self._namespaces: dict[str, dict[Key, Obj]] = {}
        self._functions: dict[str, Index] = {}
        self._entries: dict[str, dict[str, dict[Key, Obj]]] = {}
        for name, function in (indexes or {}).items():
            self.add_index(name, function)
        for obj in objects:
            self.put(obj)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def get(self, key: Key) -> Obj | None:
        return self._objects.get(key)

    def __iter__(self) -> Iterator[Key]:
        """All keys at this moment; the cache may change while they are read."""
        return iter(list(self._objects))

    def select(self, namespace: str = "", where: Callable[[Obj], bool] | None = None) -> Sequence[Obj]:
        found = self._namespaces.get(namespace, {}) if namespace else self._objects
        if where is None:
            return list(found.values())
        return [obj for obj in found.values() if where(obj)]

    def indexed(self, index: str, value: str) -> Sequence[Obj]:
        return list(self._entries[index].get(value, {}).values())

    def add_index(self, name: str, function: Index) -> None:
        """Declare an index; the objects already here enter it. The first function under a name stays."""
        if name in self._functions:
            return
        self._functions[name] = function
        self._entries[name] = {}
        for key, obj in self._objects.items():
            self._enter(name, key, obj)

    def put(self, obj: Obj) -> Obj | None:
        """Add or replace; returns what was there."""
        key = key_of(obj)
        was = self._take(key)
        self._objects[key] = obj
        self._namespaces.setdefault(key.namespace, {})[key] = obj
        for name in self._functions:
            self._enter(name, key, obj)
        return was

    def remove(self, key: Key) -> Obj | None:
        """Forget; returns what was there."""
        was = self._take(key)
        if was is None:
            return None
        del self._objects[key]
        held = self._namespaces[key.namespace]
        del held[key]
        if not held:
            del self._namespaces[key.namespace]
        return was

    def _take(self, key: Key) -> Obj | None:
        was = self._objects.get(key)
        if was is not None:
            for name, function in self._functions.items():
                entries = self._entries[name]
                for value in function(was):
                    if held := entries.get(value):
                        held.pop(key, None)
                        if not held:
                            del entries[value]
        return was

    def _enter(self, name: str, key: Key, obj: Obj) -> None:
        entries = self._entries[name]
        for value in self._functions[name](obj):
            entries.setdefault(value, {})[key] = obj


class StaticCache(IndexedCache):
    """For tests: StaticCache([pod(...), pod(...)], indexes={"node": by_node})."""
