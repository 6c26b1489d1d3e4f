"""The table of deprecated kinds against the table of resources."""

from pybernetes.api import resources
from pybernetes.api.deprecated import WARNINGS
from pybernetes.api.scheme import Scheme


def test_each_is_served_and_is_named_in_its_own_warning() -> None:
    served = {(row.group, row.version, row.kind) for row in Scheme.builtin().resources}
    assert set(WARNINGS) <= served
    assert all(text.startswith(f"{version} {kind} is deprecated in v") for (_, version, kind), text in WARNINGS.items())


def test_the_scheme_tells_it_of_a_row() -> None:
    scheme = Scheme.builtin()
    assert "EndpointSlice" in scheme.warning(resources.ENDPOINTS)
    assert scheme.warning(resources.PODS) == ""
    scheme.remove(resources.ENDPOINTS)
    assert scheme.warning(resources.ENDPOINTS) == ""
