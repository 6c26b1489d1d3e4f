import re

import pytest

from pybernetes.api import selectors

WEB = {"app": "web", "tier": "front", "rank": "7"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("owner!=helm", True),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db,cache)", True),
        ("app notin (web)", False),
        ("absent notin (x)", True),
        ("app", True),
        ("!app", False),
        ("!absent", True),
        ("absent", False),
        ("app=web,tier=front", True),
        ("app=web,tier=back", False),
        (" app = web , tier in ( front ) ", True),
        ("rank>5", True),
        ("rank<5", False),
        ("app>5", False),
        ("app=", False),
        ("absent=", False),
        ("x.io/in in (a)", False),
    ],
)
def test_label_selectors(text, matches):
    assert selectors.parse(text).matches(WEB) is matches


@pytest.mark.parametrize(
    "text", ["a,", ",a", "a in b", "a in (b", "=b", "a=b=c", "a b", "!", "a=-b-", "rank>x", "a/b/c"]
)
def test_bad_label_selectors(text):
    with pytest.raises(ValueError):
        selectors.parse(text)


def test_a_selector_prints_as_its_query_parameter():
    assert str(selectors.parse("b notin (y,x),a=1,!c,d,e!=f")) == "b notin (x,y),a=1,!c,d,e!=f"


def test_label_selector_objects():
    found = selectors.of(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "gone", "operator": "DoesNotExist"},
            ],
        }
    )
    assert found.matches(WEB)
    assert not found.matches({"app": "web"})


def test_no_selector_matches_nothing_and_an_empty_one_everything():
    assert not selectors.of(None).matches(WEB)
    assert selectors.of({}).matches({})
    assert selectors.exact({}).matches({})


def test_an_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="not a valid label selector operator"):
        selectors.of({"matchExpressions": [{"key": "a", "operator": "Like"}]})


POD = {
    "metadata": {"name": "p", "namespace": "n"},
    "spec": {"nodeName": "node-1"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("metadata.name=p", True),
        ("metadata.name==q", False),
        ("spec.nodeName=node-1,status.phase!=Succeeded,status.phase!=Failed", True),
        ("spec.nodeName=", False),
        ("spec.serviceAccountName=", True),
        ("metadata.namespace!=", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_field_selectors(text, matches):
    assert selectors.parse_fields(text).matches_object(POD) is matches


def test_field_selector_values_are_escaped():
    found = selectors.parse_fields(r"a=b\,c\=d\\")
    assert found.exact("a") == "b,c=d\\"
    assert str(found) == r"a=b\,c\=d\\"


def test_unsupported_fields_are_named():
    found = selectors.parse_fields("metadata.name=a,spec.foo=b")
    assert found.unsupported(()) == "spec.foo"
    assert found.unsupported(("spec.foo",)) == ""


@pytest.mark.parametrize("text", ["a", "a=b=c"])
def test_bad_field_selectors(text):
    with pytest.raises(ValueError, match="invalid selector"):
        selectors.parse_fields(text)


def test_an_events_source_is_its_component():
    assert selectors.field_of({"source": {"component": "kubelet"}}, "source") == "kubelet"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a (b)", "unable to parse requirement: found '(', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
    ],
)
def test_what_no_selector_says(text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        selectors.parse(text)
