"""What `make upstream` does beside running programs: images turned into processes, results into a document."""

import base64
import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from upstream import build, images, report, suite, webhook
from upstream.__main__ import batches
from upstream.suite import Result, Spec

AGNHOST = "registry.k8s.io/e2e-test-images/agnhost:2.66.1"
BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.37.0-2"


def changed(pod: dict[str, Any], part: str = "containers") -> dict[str, Any]:
    """The first container after the patch; every step of the patch is of it."""
    found = dict(pod["spec"][part][0])
    for step in images.patch(pod):
        prefix, _, field = step["path"].rpartition("/")
        assert prefix == f"/spec/{part}/0"
        found[field] = step["value"]
    return found


@pytest.mark.parametrize(
    ("container", "ran"),
    [
        ({"image": AGNHOST}, (["/agnhost"], ["pause"])),
        ({"image": AGNHOST, "args": ["netexec"]}, (["/agnhost"], ["netexec"])),
        ({"image": AGNHOST, "command": ["sh"], "args": ["-c", "true"]}, (["sh"], ["-c", "true"])),
        ({"image": AGNHOST, "command": ["sh"]}, (["sh"], None)),
        ({"image": BUSYBOX}, (["sh"], None)),
        ({"image": BUSYBOX, "args": ["sleep", "1"]}, (["sleep", "1"], [])),
        ({"image": "registry.k8s.io/pause:3.10.2"}, (["/agnhost", "pause"], None)),
    ],
)
def test_a_known_image_is_the_host_with_the_command_that_the_image_would_run(
    container: dict[str, Any], ran: tuple[list[str], list[str] | None]
) -> None:
    found = changed({"spec": {"containers": [container]}})
    assert found["image"] == "host"
    assert (found["command"], found.get("args")) == ran


@pytest.mark.parametrize("part", ["initContainers", "containers", "ephemeralContainers"])
def test_containers_of_every_kind_are_seen(part: str) -> None:
    assert changed({"spec": {part: [{"image": AGNHOST}]}}, part)["image"] == "host"


@pytest.mark.parametrize("image", ["host", "invalid.registry.k8s.io/invalid/alpine:3.1", "agnhost", ""])
def test_other_images_are_left_alone(image: str) -> None:
    assert images.patch({"spec": {"containers": [{"image": image}]}}) == []


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("a/b:1", "a/b"),
        ("r:5000/a", "r:5000/a"),
        ("r:5000/a/b:1@sha256:00", "r:5000/a/b"),
        ("b:latest", "b"),
    ],
)
def test_an_image_without_its_tag(image: str, name: str) -> None:
    assert images.bare(image) == name


def test_the_webhook_answers_over_tls_as_its_registration_says(tmp_path: Path) -> None:
    pod = {"spec": {"containers": [{"image": BUSYBOX}]}}
    asked = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": pod}}
    with webhook.serving(tmp_path) as hook:
        client = hook["webhooks"][0]["clientConfig"]
        context = ssl.create_default_context(cadata=base64.b64decode(client["caBundle"]).decode())
        request = urllib.request.Request(client["url"], json.dumps(asked).encode(), method="POST")
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            told = json.load(answer)["response"]
    assert (told["uid"], told["allowed"], told["patchType"]) == ("1", True, "JSONPatch")
    assert json.loads(base64.b64decode(told["patch"])) == images.patch(pod)


def test_a_pod_without_images_of_the_suite_is_answered_without_a_patch() -> None:
    asked = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": {}}}
    assert webhook.review(asked)["response"] == {"uid": "1", "allowed": True}


def test_the_module_has_the_staging_modules_of_the_release() -> None:
    text = build.module("module k8s.io/kubernetes\n\ngo 1.26.0\n\nrequire (\n\tk8s.io/api v0.0.0\n\tx.io/y v1.2.3\n)\n")
    assert "\ngo 1.26.0\n" in text
    assert "require k8s.io/kubernetes v1.37.0\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.37.0\n" in text
    assert "x.io" not in text


def test_a_module_without_go_is_refused() -> None:
    with pytest.raises(ValueError, match="go line"):
        build.module("module k8s.io/kubernetes\n")


def test_a_spec_says_where_it_belongs() -> None:
    spec = Spec("[sig-apps] Daemon set [Serial] should run [Privileged:x] here [Conformance] [Serial]")
    assert (spec.area, spec.name, spec.alone) == ("apps", "Daemon set should run here", True)


def ended(state: str, message: str = "", seconds: float = 1.5) -> suite.Result | None:
    told: dict[str, Any] = {"State": state, "RunTime": int(seconds * 1e9)}
    return suite.result(told | ({"Failure": {"Message": message}} if message else {}))


def test_how_a_spec_ended() -> None:
    assert ended("passed") == Result("passed", 1.5)
    assert ended("failed", "not\nso") == Result("failed", 1.5, "not so")
    assert ended("panicked", "oh") == Result("failed", 1.5, "panicked: oh")
    assert ended("skipped", "needs three nodes") == Result("skipped", 1.5, "needs three nodes")


@pytest.mark.parametrize(
    ("state", "message"),
    [("skipped", ""), ("interrupted", "by user"), ("timedout", "A suite timeout occurred"), ("pending", "")],
)
def test_what_did_not_end_by_itself_has_no_result(state: str, message: str) -> None:
    assert ended(state, message) is None


SPECS = [Spec(f"[sig-network] {name} [Conformance]") for name in ("a", "b", "c", "d", "e")]
KNOWN = report.Known({"network|d": "about images"}, {"network|b": "a | b"}, {})
RESULTS = {
    SPECS[0].text: Result("passed", 1.0),
    SPECS[1].text: Result("failed", 1.0, "expected 1"),
    SPECS[2].text: Result("skipped", 0.0, "three nodes"),
}


def test_the_document_counts_and_gives_reasons() -> None:
    text = report.document(SPECS, RESULTS, KNOWN, date="2030-01-01", machine="Linux 9")
    assert "of 5 programs 1 passed, 1 failed, 1 skipped themselves, 1 are left out, 1 were not run." in text
    assert "| network | 1 | 1 | 1 | 1 | 1 |" in text
    assert "| network | b | a \\| b |" in text
    assert "| network | c | three nodes |" in text
    assert "| network | d | about images |" in text
    assert "| network | a |" not in text


def test_a_failure_that_nobody_explained_shows_what_it_said() -> None:
    text = report.document(SPECS, RESULTS, report.Known({}, {}, {}), date="2030-01-01", machine="Linux 9")
    assert "| network | b | expected 1 |" in text


def test_only_failures_that_nobody_explained_fail_the_target() -> None:
    assert report.unexplained(SPECS, RESULTS, KNOWN) == []
    assert report.unexplained(SPECS, RESULTS, report.Known({}, {}, {})) == [SPECS[1]]


def test_names_that_the_suite_has_not_are_told() -> None:
    assert report.strangers(KNOWN, SPECS) == []
    assert report.strangers(KNOWN, SPECS[:2]) == ["network|d"]


def test_results_are_kept_whole(tmp_path: Path) -> None:
    assert report.load(tmp_path / "results.json") == {}
    report.save(tmp_path / "results.json", RESULTS)
    assert report.load(tmp_path / "results.json") == RESULTS


def test_every_reason_of_the_table_names_a_group_that_is_run() -> None:
    told = report.known()
    assert {name.partition("|")[0] for names in told for name in names} <= set(report.AREAS)
    assert not set(told.out) & (set(told.failing) | set(told.plain))
    assert all((*told.out.values(), *told.failing.values()))


def test_programs_without_the_webhook_have_a_cluster_of_their_own() -> None:
    found = list(batches(SPECS, {"network|b"}))
    assert found == [(True, [SPECS[0], *SPECS[2:]]), (False, [SPECS[1]])]
