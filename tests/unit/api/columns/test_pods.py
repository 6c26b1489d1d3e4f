"""The row of a pod, state by state, as `kubectl get pods -o wide` shows it."""

from typing import Any

import pytest

from pybernetes.api import columns
from pybernetes.api.objects import Obj
from pybernetes.api.resources import PODS

NOW = 1_000_000_600.0
CREATED, AGO_2M = "2001-09-09T01:46:40Z", "2001-09-09T01:54:40Z"


def pod(status: Obj, *, containers: int = 1, deleted: bool = False, **spec: Any) -> Obj:
    metadata: Obj = {"name": "p", "namespace": "n", "creationTimestamp": CREATED, "resourceVersion": "7"}
    if deleted:
        metadata["deletionTimestamp"] = CREATED
    spec = {"containers": [{"name": f"c{at}"} for at in range(containers)]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def container(state: Obj | None = None, *, ready: bool = False, restarts: int = 0, **fields: Any) -> Obj:
    return {"name": "c0", "ready": ready, "restartCount": restarts, "state": state or {}} | fields


def running(*, ready: bool = True, restarts: int = 0, **fields: Any) -> Obj:
    return container({"running": {}}, ready=ready, restarts=restarts, **fields)


def waiting(reason: str, **fields: Any) -> Obj:
    return container({"waiting": {"reason": reason}}, **fields)


def ended(code: int, reason: str = "", **fields: Any) -> Obj:
    return container({"terminated": {"exitCode": code, "reason": reason}}, **fields)


READY = {"type": "Ready", "status": "True"}
LAST = {"lastState": {"terminated": {"exitCode": 1, "finishedAt": AGO_2M}}}
SIDECAR = {"name": "s", "restartPolicy": "Always"}
INIT = [{"name": "i0"}, {"name": "i1"}]

ROWS: list[tuple[Obj, list[str]]] = [
    (pod({"phase": "Pending"}), ["0/1", "Pending", "0"]),
    (pod({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]}), ["0/1", "ContainerCreating", "0"]),
    (pod({"phase": "Running", "containerStatuses": [running()]}), ["1/1", "Running", "0"]),
    (pod({"phase": "Running", "containerStatuses": [running(ready=False)]}), ["0/1", "Running", "0"]),
    (pod({"phase": "Running", "containerStatuses": [running(restarts=3, **LAST)]}), ["1/1", "Running", "3 (2m ago)"]),
    (pod({"phase": "Running", "containerStatuses": [running(restarts=3)]}), ["1/1", "Running", "3"]),
    (
        pod({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff", restartCount=5, **LAST)]}),
        ["0/1", "CrashLoopBackOff", "5 (2m ago)"],
    ),
    (pod({"phase": "Running", "containerStatuses": [ended(1, "Error")]}), ["0/1", "Error", "0"]),
    (pod({"phase": "Failed", "containerStatuses": [ended(3)]}), ["0/1", "ExitCode:3", "0"]),
    (
        pod({"phase": "Failed", "containerStatuses": [container({"terminated": {"exitCode": 137, "signal": 9}})]}),
        ["0/1", "Signal:9", "0"],
    ),
    (pod({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]),
    (pod({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}), ["0/1", "Completed", "0"]),
    (
        pod(
            {"phase": "Running", "containerStatuses": [ended(0, "Completed"), running()], "conditions": [READY]},
            containers=2,
        ),
        ["1/2", "Running", "0"],
    ),
    (
        pod({"phase": "Running", "containerStatuses": [ended(0, "Completed"), running()]}, containers=2),
        ["1/2", "NotReady", "0"],
    ),
    (
        pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
        ["0/1", "SchedulingGated", "0"],
    ),
    (pod({"phase": "Running", "containerStatuses": [running()]}, deleted=True), ["1/1", "Terminating", "0"]),
    (pod({"phase": "Running", "reason": "NodeLost"}, deleted=True), ["0/1", "Unknown", "0"]),
    (pod({"phase": "Succeeded"}, deleted=True), ["0/1", "Succeeded", "0"]),
    (
        pod(
            {"phase": "Pending", "initContainerStatuses": [ended(0, name="i0"), waiting("PodInitializing", name="i1")]},
            initContainers=INIT,
        ),
        ["0/1", "Init:1/2", "0"],
    ),
    (
        pod(
            {"phase": "Pending", "initContainerStatuses": [ended(2, "Error", name="i0", restartCount=2, **LAST)]},
            initContainers=INIT,
        ),
        ["0/1", "Init:Error", "2 (2m ago)"],
    ),
    (
        pod({"phase": "Pending", "initContainerStatuses": [ended(2, name="i0")]}, initContainers=INIT),
        ["0/1", "Init:ExitCode:2", "0"],
    ),
    (
        pod(
            {"phase": "Pending", "initContainerStatuses": [waiting("ImagePullBackOff", name="i0")]}, initContainers=INIT
        ),
        ["0/1", "Init:ImagePullBackOff", "0"],
    ),
    (
        pod(
            {
                "phase": "Running",
                "initContainerStatuses": [running(name="s", started=True, restarts=1, **LAST)],
                "containerStatuses": [running()],
            },
            initContainers=[SIDECAR],
        ),
        ["2/2", "Running", "1 (2m ago)"],
    ),
    (
        pod(
            {
                "phase": "Running",
                "initContainerStatuses": [ended(0, "Completed", name="i0", restartCount=4, **LAST)],
                "containerStatuses": [running()],
            },
            initContainers=[{"name": "i0"}],
        ),
        ["1/1", "Running", "0"],
    ),
    (pod({}), ["0/1", "", "0"]),
]


@pytest.mark.parametrize(("obj", "expected"), ROWS)
def test_ready_status_restarts(obj: Obj, expected: list[str]) -> None:
    assert columns.cells(PODS, obj, now=NOW)[1:4] == expected


def test_wide() -> None:
    gates = [{"conditionType": "a"}, {"conditionType": "b"}]
    obj = pod(
        {
            "phase": "Pending",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "nominatedNodeName": "n2",
            "conditions": [{"type": "a", "status": "True"}],
        },
        nodeName="n1",
        readinessGates=gates,
    )
    assert columns.cells(PODS, obj, now=NOW) == ["p", "0/1", "Pending", "0", "10m", "10.0.0.1", "n1", "n2", "1/2"]
    assert columns.cells(PODS, pod({}), now=NOW)[5:] == ["<none>"] * 4


def test_the_columns() -> None:
    found = columns.columns_of(PODS)
    assert [(one.name, one.priority) for one in found] == [
        ("Name", 0),
        ("Ready", 0),
        ("Status", 0),
        ("Restarts", 0),
        ("Age", 0),
        ("IP", 1),
        ("Node", 1),
        ("Nominated Node", 1),
        ("Readiness Gates", 1),
    ]
    assert found[0].format == "name"
    assert all(one.type == "string" and one.description for one in found)


@pytest.mark.parametrize(
    ("phase", "message"),
    [("Succeeded", "The pod has completed successfully."), ("Failed", "The pod failed.")],
)
def test_rows_of_pods_that_ended_say_so(phase: str, message: str) -> None:
    row = columns.row(PODS, pod({"phase": phase}), now=NOW)
    assert row == {
        "cells": columns.cells(PODS, pod({"phase": phase}), now=NOW),
        "conditions": [{"type": "Completed", "status": "True", "reason": phase, "message": message}],
    }
    assert "conditions" not in columns.row(PODS, pod({"phase": "Running"}), now=NOW)
