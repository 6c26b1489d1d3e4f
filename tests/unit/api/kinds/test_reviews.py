import pytest

from pybernetes.api.kinds.reviews import access_review

PODS = {"verb": "get", "resource": "pods", "namespace": "here"}
PATH = {"verb": "get", "path": "/healthz"}
NEITHER = (
    "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be "
    "specified"
)


@pytest.mark.parametrize(
    ("kind", "review", "wrong"),
    [
        ("SelfSubjectAccessReview", {"spec": {"resourceAttributes": PODS}}, []),
        ("SelfSubjectAccessReview", {}, [NEITHER]),
        (
            "SubjectAccessReview",
            {"metadata": {"name": "x"}, "spec": {}},
            [
                NEITHER,
                'spec.user: Invalid value: "": at least one of user or group must be specified',
                'metadata: Invalid value: {"name":"x"}: must be empty',
            ],
        ),
        (
            "SubjectAccessReview",
            {"spec": {"groups": ["g"], "resourceAttributes": PODS, "nonResourceAttributes": PATH}},
            [
                'spec.nonResourceAttributes: Invalid value: {"verb":"get","path":"/healthz"}: cannot be specified in '
                "combination with resourceAttributes"
            ],
        ),
        (
            "LocalSubjectAccessReview",
            {"metadata": {"namespace": "there"}, "spec": {"user": "u", "resourceAttributes": PODS}},
            ['spec.resourceAttributes.namespace: Invalid value: "here": must match metadata.namespace'],
        ),
        (
            "LocalSubjectAccessReview",
            {"metadata": {"namespace": "here"}, "spec": {"user": "u", "nonResourceAttributes": PATH}},
            [
                'spec.nonResourceAttributes: Invalid value: {"verb":"get","path":"/healthz"}: disallowed on this kind '
                "of request"
            ],
        ),
        (
            "SelfSubjectAccessReview",
            {"spec": {"resourceAttributes": PODS | {"fieldSelector": {}}}},
            [
                "spec.resourceAttributes.fieldSelector.requirements: Required value: when "
                "spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"
            ],
        ),
        (
            "SelfSubjectAccessReview",
            {"spec": {"resourceAttributes": PODS | {"labelSelector": {"requirements": [{"operator": "In"}]}}}},
            [
                "spec.resourceAttributes.labelSelector.requirements[0].key: Required value: must be specified",
                "spec.resourceAttributes.labelSelector.requirements[0].values: Required value: must be specified when "
                "`operator` is 'In' or 'NotIn'",
            ],
        ),
    ],
)
def test_what_a_question_must_say(kind, review, wrong):
    assert [str(problem) for problem in access_review(review, kind=kind)] == wrong
