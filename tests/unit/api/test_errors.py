import pytest

from pybernetes.api import errors
from pybernetes.api.errors import FieldError, Invalid, NotFound
from pybernetes.api.objects import encode


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FieldError.required("a"), "a: Required value"),
        (FieldError.required("a", "why"), "a: Required value: why"),
        (FieldError.invalid("a", "b", "why"), 'a: Invalid value: "b": why'),
        (FieldError.invalid("a", None, "why"), "a: Invalid value: null: why"),
        (FieldError.invalid("a", True, "why"), "a: Invalid value: true: why"),
        (FieldError.invalid("a", {"b": 1}, "why"), 'a: Invalid value: {"b":1}: why'),
        (FieldError.duplicate("a", "b"), 'a: Duplicate value: "b"'),
        (FieldError.not_supported("a", "b", ("c", "d")), 'a: Unsupported value: "b": supported values: "c", "d"'),
        (FieldError.forbidden("a", "why"), "a: Forbidden: why"),
        (FieldError.too_long("a", "", 5), "a: Too long: may not be more than 5 bytes"),
        (FieldError.not_found("a", "b"), 'a: Not found: "b"'),
    ],
)
def test_a_cause_reads_as_apimachinery_prints_it(error, text):
    assert str(error) == text


def test_all_causes_are_in_one_status():
    found = Invalid.of("Deployment", "web", [FieldError.required("a"), FieldError.duplicate("b", 1)], group="apps")
    assert str(found) == 'Deployment.apps "web" is invalid: [a: Required value, b: Duplicate value: 1]'
    assert found.status["code"] == 422
    assert found.status["details"]["group"] == "apps"
    assert found.causes == [
        {"reason": "FieldValueRequired", "message": "Required value", "field": "a"},
        {"reason": "FieldValueDuplicate", "message": "Duplicate value: 1", "field": "b"},
    ]


def test_an_error_survives_the_wire():
    sent = NotFound.of("pods", "x")
    found = errors.error_of(404, encode(sent.status))
    assert isinstance(found, NotFound)
    assert str(found) == 'pods "x" not found'
    assert found.status == sent.status


def test_an_answer_without_a_status_is_an_error_of_its_code():
    found = errors.error_of(404, b"404 page not found")
    assert isinstance(found, NotFound)
    assert str(found) == "404 page not found"
    assert errors.error_of(599, b"").message == "the server answered 599"


def test_what_is_said_twice_is_written_once_and_has_two_causes():
    problem = FieldError.too_many("spec.rules", 21, 20)
    error = Invalid.of("Job", "j", [problem, problem])
    assert error.message == 'Job "j" is invalid: spec.rules: Too many: 21: must have at most 20 items'
    assert [cause["reason"] for cause in error.causes] == ["FieldValueTooMany"] * 2
