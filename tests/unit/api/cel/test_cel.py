"""Expressions: the language's extensions, Kubernetes' functions, and what is said of broken ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pybernetes.api import cel


def value(expression: str, self: Any = None) -> Any:
    return cel.compiled(expression, ("self",)).evaluate({"self": self})


@pytest.mark.parametrize(
    ("expression", "self"),
    [
        ("self.replicas <= self.max", {"replicas": 2, "max": 3}),
        ("self.?absent.orValue(3) == 3", {}),
        ("has(self.a) && !has(self.b)", {"a": None}),
        ("self.all(key, value, key != '' && value > 0)", {"a": 1, "b": 2}),
        ("self.map(x, x * 2).exists_one(x, x == 4)", [1, 2]),
        ("self.split('-').join(',').upperAscii() == 'A,B'", "a-b"),
        ("'%s is %d'.format(['a', 1]) == 'a is 1'", None),
        ("sets.contains(self, [1]) && math.greatest(self) == 2", [1, 2]),
        ("self.sum() == 6 && self.max() == 3 && self.min() == 1 && !self.isSorted()", [3, 1, 2]),
        ("self.indexOf(1) == 0 && self.lastIndexOf(1) == 2 && self.indexOf(9) == -1", [1, 2, 1]),
        ("self.indexOf('b') == 1", "abc"),
        ("self.find('[0-9]+') == '12' && self.findAll('[0-9]+') == ['12', '3']", "a12b3"),
        ("self.findAll('[0-9]', 1) == ['1'] && self.find('x') == ''", "12"),
        ("quantity(self) == quantity('1000m') && quantity('1Gi').isGreaterThan(quantity('1Mi'))", "1"),
        ("quantity('2').add(quantity(self)).sub(1).asInteger() == 2", "1"),
        ("quantity('-1').sign() == -1 && !quantity('500m').isInteger()", None),
        ("quantity('1').compareTo(quantity('2')) == -1", None),
        ("isQuantity('1Ki') && !isQuantity('1Zi')", None),
        (
            "ip(self).family() == 4 && ip('::1').isLoopback() && ip.isCanonical('::1') && !ip.isCanonical('::01')",
            "1.2.3.4",
        ),
        ("isIP('1.2.3.4') && !isIP('1.2.3') && !isIP('::ffff:1.2.3.4') && ip('10.0.0.1').isGlobalUnicast()", None),
        ("cidr(self).containsIP('10.1.1.1') && cidr(self).containsCIDR('10.1.0.0/16')", "10.0.0.0/8"),
        ("cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", None),
        ("cidr('::/0').prefixLength() == 0 && isCIDR('1.2.3.0/24') && !isCIDR('1.2.3.4')", None),
        (
            "url(self).getHost() == 'a:80' && url(self).getHostname() == 'a' && url(self).getPort() == '80'",
            "http://a:80/x?q=1",
        ),
        (
            "url(self).getEscapedPath() == '/x' && url(self).getQuery()['q'] == ['1'] && isURL(self)",
            "http://a:80/x?q=1",
        ),
        ("semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-a').isLessThan(semver('1.0.0'))", None),
        ("semver('v1.2', true).minor() == 2 && isSemver('1.0.0') && !isSemver('1.0') && isSemver('1.0', true)", None),
    ],
)
def test_what_holds(expression: str, self: Any) -> None:
    assert value(expression, self) is True


def test_times_and_durations_inside_a_value() -> None:
    self = {"at": cel.timestamp(datetime(2020, 1, 1, tzinfo=UTC)), "for": [cel.duration(timedelta(hours=1))]}
    expression = "self.at + self['for'][0] == timestamp('2020-01-01T01:00:00Z') && self.at.getFullYear() == 2020"
    assert value(expression, self) is True


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("self.", "Syntax error"),
        ("self.x == unknown", "undeclared reference to 'unknown'"),
        ("'a' + 1 == 'b'", "found no matching overload for '_+_' applied to '(string, int)'"),
        ("quantity(1) == self", "found no matching overload for 'quantity'"),
    ],
)
def test_what_cannot_be_compiled(expression: str, text: str) -> None:
    with pytest.raises(cel.Broken, match="ERROR: <input>:1:") as caught:
        cel.compiled(expression, ("self",))
    assert text in str(caught.value)
    assert not str(caught.value).endswith("]")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("self.absent == 1", "no such key: absent"),
        ("1 / self.zero == 1", "division by zero"),
        ("quantity('1.x') == quantity('1')", "quantities must match"),
        ("quantity('0.5').asInteger() == 1", "cannot convert value to integer"),
        ("[].max() == 1", "max called on empty list"),
    ],
)
def test_what_cannot_be_evaluated(expression: str, text: str) -> None:
    with pytest.raises(cel.Failed, match=text):
        value(expression, {"zero": 0})


def test_the_type_of_an_expression_is_known() -> None:
    assert cel.compiled("self.a == 1", ("self",)).returns == "bool"
    assert cel.compiled("'a' + string(self)", ("self",)).returns == "string"
    assert cel.compiled("self.a", ("self",)).returns == "dyn"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("dns1123Label", "a-1", "A"),
        ("dns1123Subdomain", "a.b", "a..b"),
        ("dns1035Label", "a1", "1a"),
        ("qualifiedName", "a.b/c", "a/b/c"),
        ("dns1123LabelPrefix", "a-", "-"),
        ("dns1123SubdomainPrefix", "a.b-", "-.a"),
        ("dns1035LabelPrefix", "a-", "1b-"),
        ("labelValue", "A_b", "a b"),
        ("uri", "https://a/b", "a b"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
        ("byte", "aGk=", "a"),
        ("date", "2026-01-31", "2026-02-31"),
        ("datetime", "2026-01-31T00:00:00Z", "2026-01-31"),
    ],
)
def test_formats(name: str, good: str, bad: str) -> None:
    for form in (f"format.{name}()", f"format.named('{name}').value()"):
        assert value(f"{form}.validate(self).hasValue()", good) is False
        assert value(f"{form}.validate(self).hasValue() && {form}.validate(self).value().size() == 1", bad) is True
    with pytest.raises(cel.Failed, match=r"optional\.none\(\) dereference"):
        value(f"format.{name}().validate(self).value()", good)


def test_a_format_that_is_not_there() -> None:
    assert value("format.named('odd').hasValue()") is False


@pytest.mark.parametrize(("self", "found"), [("", False), ([], False), ({}, False), ({"a": 1}, True)])
def test_other_optionals_are_as_they_were(self: Any, found: bool) -> None:
    assert value("optional.of(self).hasValue()", self) is True
    assert value("optional.of(self).value() == self", self) is True
    assert value("optional.ofNonZeroValue(self).hasValue()", self) is found


def test_a_check_asks_what_the_steps_said() -> None:
    asked: list[cel.Check] = []

    def ask(check: cel.Check) -> cel.Decision:
        asked.append(check)
        return cel.Decision(False, "why not")

    names = ("authorizer", "authorizer.requestResource")
    mine = cel.resource_check("apps", "deployments", subresource="scale", namespace="n", name="d")
    variables = dict(zip(names, (cel.AUTHORIZER, mine), strict=True))

    def said(expression: str) -> Any:
        with cel.asking(ask):
            return cel.compiled(expression, names).evaluate(variables)

    full = "group('a').resource('b').subresource('c').namespace('d').name('e').fieldSelector('f=g').labelSelector('h')"
    assert said(f"authorizer.{full}.check('get').reason()") == "why not"
    assert said("authorizer.serviceAccount('n', 'x').path('/p').check('post').allowed()") is False
    assert said("authorizer.requestResource.check('patch').error()") == ""
    assert asked == [
        cel.Check("get", "", "a", "b", "c", "d", "e", "f=g", "h"),
        cel.Check("post", "/p", account=("n", "x")),
        cel.Check("patch", "", "apps", "deployments", "scale", "n", "d"),
    ]
    for wrong, text in (("path(' ')", "path must not be empty"), ("resource('a')", "no such overload")):
        with pytest.raises(cel.Failed, match=text):
            said(f"authorizer.{wrong}.check('get')")
