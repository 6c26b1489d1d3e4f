"""What others have changed in a table, found bit by bit, while changes go on.

Reading and comparing the table of 10,000 Services takes a second; done at once it would hold up every change, and the
event loop with it. So it is a generator of short steps, and changes may happen between two of them: what they are
about (`changed`) is true by itself, for it has just been written. What seems to differ is asked for once more: a dump
of a set that changes, or grows, has holes.
"""

from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TypeVar

from pybernetes.netlink.nft import Data, Nftables

from .layout import TABLE
from .plan import ELEMENT_SETS, Book, Difference, Elements

SERVICES_A_STEP = 20
LOOKUPS_A_STEP = 50

T = TypeVar("T")

Doubtful = dict[str, set[bytes]]
"""By set: the keys of which it is to be asked what they really are."""


def differences(book: Book, nft: Nftables, changed: Sequence[Difference]) -> Generator[None, None, Difference]:
    """Yields between steps of a millisecond or two; returns what leads from what is in the table to what should be.

    `changed` grows by what the book takes in meanwhile. Apply the result before anything else. Raises OSError.
    """
    family = book.planner.layout.family
    observed: Elements = {}
    for name in ELEMENT_SETS:
        held = observed[name] = {}
        for piece in nft.pieces(family, TABLE, name):
            held.update(piece)
            yield
    wanted = yield from _compared(book, observed)
    doubtful: Doubtful = {name: observed[name].keys() | wanted[name].keys() for name in ELEMENT_SETS}
    seen = 0
    while True:
        for difference in changed[seen:]:
            _take_in(difference, observed, wanted, doubtful)
            seen += 1
        if not any(doubtful.values()):
            break
        for name, keys in doubtful.items():
            for part in _parts(list(keys), LOOKUPS_A_STEP):
                _settle(part, nft.lookup(family, TABLE, name, part), held=observed[name], wanted=wanted[name])
                yield
        doubtful = defaultdict(set)
    _pairs(book, observed, wanted)
    return Difference(removed=observed, added=wanted)


def _compared(book: Book, observed: Elements) -> Generator[None, None, Elements]:
    """Takes out of `observed` what is as it should be; returns what should be and is not so."""
    wanted: Elements = defaultdict(dict)
    for keys in _parts(list(book.placements), SERVICES_A_STEP):
        for key in keys:
            for name, elements in book.elements_of(key).items():
                held, differing = observed[name], wanted[name]
                for each, data in elements.items():
                    if each in held and held[each] == data:
                        del held[each]
                    else:
                        differing[each] = data
        yield
    wanted["hairpin"] = dict.fromkeys(book.hairpins)
    _pairs(book, observed, wanted)
    return wanted


def _pairs(book: Book, observed: Elements, wanted: Elements) -> None:
    """Hairpin pairs are shared by Services, and outlive them for a moment: the book as it is now says which are."""
    right = book.hairpins
    held = observed["hairpin"]
    wanted["hairpin"] = {pair: data for pair, data in wanted["hairpin"].items() if pair in right and pair not in held}
    observed["hairpin"] = {pair: data for pair, data in held.items() if pair not in right}


def _settle(
    keys: Sequence[bytes], found: Mapping[bytes, Data], *, held: dict[bytes, Data], wanted: dict[bytes, Data]
) -> None:
    """What seemed to differ becomes what does: `held` is what goes, `wanted` what comes."""
    for key in keys:
        held.pop(key, None)
        if key in found and key in wanted and found[key] == wanted[key]:
            del wanted[key]
        elif key in found:
            held[key] = found[key]


def _take_in(difference: Difference, observed: Elements, wanted: Elements, doubtful: Doubtful) -> None:
    """What has been written is true. What stayed as it was has not been, and may belong to another Service now."""
    for name in ELEMENT_SETS:
        removed, added = difference.removed.get(name, {}), difference.added.get(name, {})
        for key in removed.keys() | added.keys():
            if key in removed and key in added and removed[key] == added[key]:
                wanted[name][key] = added[key]
                doubtful[name].add(key)
            else:
                observed[name].pop(key, None)
                wanted[name].pop(key, None)
                doubtful[name].discard(key)


def _parts(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
