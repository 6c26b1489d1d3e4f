"""The bundle that pods verify the API server with, over the real API and with the publisher's own rights."""

import asyncio
from pathlib import Path

from pybernetes.api.objects import Key, name_of
from pybernetes.api.resources import CLUSTER_TRUST_BUNDLES
from pybernetes.client import Informers
from pybernetes.controllers import CONTROLLERS, ControllersConfig
from pybernetes.controllers.trustbundle import SIGNER, bundle_name
from pybernetes.pki import Authority
from support.control_plane import until
from support.server import MANAGER, api_server, client_of, shared_of


async def test_the_bundle_is_published_kept_and_the_old_one_deleted(tmp_path: Path) -> None:
    for name in ("old", "new"):
        Authority.ensure(tmp_path / name)
    old, new = ((tmp_path / name / "ca.crt").read_text() for name in ("old", "new"))
    async with api_server() as server:
        admin = client_of(server)
        stale = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "ClusterTrustBundle",
            "metadata": {"name": bundle_name(old)},
            "spec": {"signerName": SIGNER, "trustBundle": old},
        }
        await admin.create(CLUSTER_TRUST_BUNDLES, stale)
        informers = Informers(client_of(server, MANAGER, "system:authenticated"))
        entry = CONTROLLERS["kube-apiserver-serving-clustertrustbundle-publisher"]
        made = entry.made(shared_of(server, informers, ControllersConfig(root_ca=new)))
        assert made is not None
        tasks = [asyncio.create_task(one.run()) for one in (informers, made)]
        try:

            async def published() -> bool:
                found = (await admin.list(CLUSTER_TRUST_BUNDLES)).items
                return [(name_of(one), one["spec"]["trustBundle"]) for one in found] == [(bundle_name(new), new)]

            await until(published)
            await admin.patch(CLUSTER_TRUST_BUNDLES, Key("", bundle_name(new)), {"spec": {"trustBundle": old}})
            await until(published)
            await admin.delete(CLUSTER_TRUST_BUNDLES, Key("", bundle_name(new)))
            await until(published)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def test_without_an_authority_there_is_none() -> None:
    entry = CONTROLLERS["kube-apiserver-serving-clustertrustbundle-publisher"]
    assert entry.account == "kube-apiserver-serving-clustertrustbundle-publisher"
