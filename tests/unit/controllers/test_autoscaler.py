"""HorizontalPodAutoscalers: the bounds hold, and what cannot be measured is said to be so."""

import asyncio
from typing import Any

import pytest

from pybernetes.api.objects import Key, Obj, condition
from pybernetes.api.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS
from pybernetes.client import Client, Informers
from pybernetes.controllers import ControllersConfig
from pybernetes.controllers.autoscaler import COMPONENT, AutoscalerController, Wanted, unmeasured, wanted
from pybernetes.controllers.shared import Shared
from support.server import api_server, client_of

CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}


def scaler(**spec: Any) -> Obj:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "metadata": {"name": "s", "namespace": "default"},
        "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4, "metrics": [CPU]} | spec,
    }


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (9, Wanted(4, "Current number of replicas above Spec.MaxReplicas")),
        (1, Wanted(2, "Current number of replicas below Spec.MinReplicas")),
        (0, Wanted(0, disabled=True)),
    ],
)
def test_bounds(current: int, expected: Wanted) -> None:
    assert wanted(scaler(), current) == expected


def test_within_the_bounds_nothing_moves_without_metrics() -> None:
    found = wanted(scaler(), 3)
    assert (found.replicas, found.reason) == (3, "")
    assert found.trouble == unmeasured([CPU])


@pytest.mark.parametrize(
    ("kind", "reason", "text"),
    [
        ("Pods", "FailedGetPodsMetric", "no custom metrics API (custom.metrics.k8s.io) registered"),
        ("Object", "FailedGetObjectMetric", "no custom metrics API (custom.metrics.k8s.io) registered"),
        ("External", "FailedGetExternalMetric", "no external metrics API (external.metrics.k8s.io) registered"),
    ],
)
def test_each_kind_of_metric_has_its_reason(kind: str, reason: str, text: str) -> None:
    found = unmeasured([{"type": kind, kind.lower(): {"metric": {"name": "hits"}}}])
    assert found is not None
    assert found[0] == reason
    assert "unable to get metric hits" in found[1]
    assert found[1].endswith(text)


class Run:
    """The controller on a whole API server, one key at a time."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.informers = Informers(client)
        self.shared = Shared(client, self.informers, ControllersConfig())
        self.said: list[tuple[str, str]] = []
        self.shared.recorders[COMPONENT] = self  # type: ignore[assignment]
        self.controller = AutoscalerController(self.shared)

    def event(self, about: Obj, reason: str, message: str, **more: str) -> None:
        self.said.append((reason, message))

    async def once(self) -> Obj:
        """Reconcile what is there; the autoscaler afterwards."""
        key = Key("default", "s")
        running = asyncio.create_task(self.informers.run())
        try:
            await self.informers.synced()
            await self.controller.reconcile(key)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return await self.client.get(HORIZONTAL_POD_AUTOSCALERS, key)


def deployment(replicas: int) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


async def test_a_target_outside_its_bounds_is_scaled_back() -> None:
    async with api_server() as server:
        client = client_of(server)
        await client.create(DEPLOYMENTS, deployment(9))
        await client.create(HORIZONTAL_POD_AUTOSCALERS, scaler())
        run = Run(client)
        found = await run.once()
        assert (await client.get(DEPLOYMENTS, Key("default", "web")))["spec"]["replicas"] == 4
        assert (
            "SuccessfulRescale",
            "New size: 4; reason: Current number of replicas above Spec.MaxReplicas",
        ) in run.said
        assert found["status"]["desiredReplicas"] == 4
        assert found["status"]["lastScaleTime"]
        able = condition(found, "AbleToScale")
        assert able is not None
        assert able["reason"] == "SucceededRescale"


async def test_without_a_metrics_api_scaling_is_not_active() -> None:
    async with api_server() as server:
        client = client_of(server)
        await client.create(DEPLOYMENTS, deployment(3))
        await client.create(HORIZONTAL_POD_AUTOSCALERS, scaler())
        run = Run(client)
        found = await run.once()
        active = condition(found, "ScalingActive")
        assert active is not None
        assert (active["status"], active["reason"]) == ("False", "FailedGetResourceMetric")
        assert active["message"] == (
            "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for "
            "resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested "
            "resource (get pods.metrics.k8s.io)"
        )
        assert [reason for reason, _ in run.said] == ["FailedGetResourceMetric", "FailedComputeMetricsReplicas"]
        assert (await client.get(DEPLOYMENTS, Key("default", "web")))["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ({"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}, 'deployments.apps "none" not found'),
        ({"apiVersion": "odd/v1", "kind": "Thing", "name": "x"}, 'no matches for kind "Thing" in group "odd"'),
    ],
)
async def test_a_target_that_is_not_there_is_told(target: Obj, why: str) -> None:
    async with api_server() as server:
        client = client_of(server)
        await client.create(HORIZONTAL_POD_AUTOSCALERS, scaler(scaleTargetRef=target))
        run = Run(client)
        able = condition(await run.once(), "AbleToScale")
        assert able is not None
        assert (able["status"], able["reason"]) == ("False", "FailedGetScale")
        assert able["message"].endswith(why)
