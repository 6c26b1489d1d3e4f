"""Laws of selectors: text and object forms agree, printing is parsing backwards, operators have their opposites."""

from hypothesis import given
from hypothesis import strategies as st

from pybernetes.api import selectors
from pybernetes.api.selectors import FieldSelector, FieldTerm, Requirement, Selector

keys = st.sampled_from(["app", "tier", "x.io/in", "notin", "a.b/c"])
values = st.sampled_from(["", "a", "b-1", "in", "9"])
labels = st.dictionaries(keys, values)
some = st.frozensets(values, min_size=1, max_size=3)
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["In", "NotIn"]), some),
    st.builds(Requirement, keys, st.sampled_from(["Exists", "DoesNotExist"])),
    st.builds(Requirement, keys, st.sampled_from(["Gt", "Lt"]), st.integers(-5, 5).map(lambda n: frozenset({str(n)}))),
)
label_selectors = st.lists(requirements, max_size=4).map(lambda terms: Selector(tuple(terms)))


@given(label_selectors, labels)
def test_a_selector_read_back_matches_the_same(selector, found):
    again = selectors.parse(str(selector))
    assert again.matches(found) == selector.matches(found)
    assert str(selectors.parse(str(again))) == str(again)


@given(st.lists(requirements.filter(lambda term: term.operator not in ("Gt", "Lt")), max_size=4), labels)
def test_the_object_form_agrees_with_the_text(terms, found):
    expressions = [{"key": t.key, "operator": t.operator, "values": sorted(t.values)} for t in terms]
    assert selectors.of({"matchExpressions": expressions}).matches(found) == Selector(tuple(terms)).matches(found)


@given(keys, some, labels)
def test_opposites(key, wanted, found):
    assert Requirement(key, "In", wanted).matches(found) is not Requirement(key, "NotIn", wanted).matches(found)
    assert Requirement(key, "Exists").matches(found) is not Requirement(key, "DoesNotExist").matches(found)


@given(labels)
def test_labels_match_themselves(found):
    assert selectors.exact(found).matches(found)
    assert selectors.of({"matchLabels": found}).matches(found)


@given(label_selectors, label_selectors, labels)
def test_terms_are_anded(one, other, found):
    both = Selector(one.terms + other.terms)
    assert both.matches(found) == (one.matches(found) and other.matches(found))


@given(st.text("ab=!,()<> in./-", max_size=12))
def test_any_text_is_a_selector_or_a_value_error(text):
    try:
        found = selectors.parse(text)
    except ValueError:
        return
    assert str(selectors.parse(str(found))) == str(found)


paths = st.sampled_from(["metadata.name", "spec.nodeName", "status.phase"])
field_terms = st.builds(FieldTerm, paths, st.text("ab,=\\ .", max_size=6), st.booleans())


@given(st.lists(field_terms, max_size=4))
def test_a_field_selector_read_back_is_the_same(terms):
    selector = FieldSelector(tuple(terms))
    assert selectors.parse_fields(str(selector)) == selector


@given(st.lists(field_terms, max_size=3), st.dictionaries(paths, st.text("ab,=\\ .", max_size=6)))
def test_field_terms_are_anded(terms, fields):
    selector = FieldSelector(tuple(terms))
    wanted = all((fields.get(term.path, "") == term.value) is term.equal for term in terms)
    assert selector.matches(lambda path: fields.get(path, "")) == wanted
