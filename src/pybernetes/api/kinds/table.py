"""Which strategy serves which resource, by qualified plural."""

from collections.abc import Mapping

from ..resources import Resource
from .admission_policies import MutatingPolicyStrategy, PolicyBindingStrategy, ValidatingPolicyStrategy
from .certificates import CertificateSigningRequestStrategy, TrustBundleStrategy
from .cluster import (
    EventStrategy,
    LeaseStrategy,
    NamespaceStrategy,
    NodeStrategy,
)
from .config import ConfigMapStrategy, SecretStrategy, ServiceAccountStrategy
from .definitions import CustomResourceDefinitionStrategy
from .device_slices import DeviceTaintRuleStrategy, ResourceSliceStrategy
from .devices import DeviceClassStrategy, ResourceClaimStrategy, ResourceClaimTemplateStrategy
from .endpoints import EndpointSliceStrategy, EndpointsStrategy
from .extension import ApiServiceStrategy
from .flow import FlowSchemaStrategy, PriorityLevelStrategy
from .jobs import CronJobStrategy, JobStrategy
from .networking import (
    IngressClassStrategy,
    IngressStrategy,
    IpAddressStrategy,
    NetworkPolicyStrategy,
    ServiceCidrStrategy,
)
from .pod_certificates import PodCertificateRequestStrategy
from .pods import PodStrategy, PodTemplateStrategy
from .policy import PodDisruptionBudgetStrategy, PriorityClassStrategy, RuntimeClassStrategy, ScalerStrategy
from .quotas import LimitRangeStrategy, ResourceQuotaStrategy
from .rbac import GROUP as RBAC
from .rbac import BindingStrategy, RoleStrategy
from .services import ServiceStrategy
from .storage import PersistentVolumeClaimStrategy, PersistentVolumeStrategy
from .storage_classes import (
    CsiDriverStrategy,
    CsiNodeStrategy,
    CsiStorageCapacityStrategy,
    StorageClassStrategy,
    StorageVersionMigrationStrategy,
    VolumeAttachmentStrategy,
    VolumeAttributesClassStrategy,
)
from .strategy import PLAIN, ReviewStrategy, Strategy
from .webhooks import WebhookStrategy
from .workloads import (
    ControllerRevisionStrategy,
    DaemonSetStrategy,
    DeploymentStrategy,
    ReplicaSetStrategy,
    ReplicationControllerStrategy,
    StatefulSetStrategy,
)

_EVENTS = EventStrategy()
_REVIEW = ReviewStrategy()

STRATEGIES: Mapping[str, Strategy] = {
    "configmaps": ConfigMapStrategy(),
    "endpoints": EndpointsStrategy(),
    "events": _EVENTS,
    "limitranges": LimitRangeStrategy(),
    "namespaces": NamespaceStrategy(),
    "nodes": NodeStrategy(),
    "persistentvolumeclaims": PersistentVolumeClaimStrategy(),
    "persistentvolumes": PersistentVolumeStrategy(),
    "pods": PodStrategy(),
    "podtemplates": PodTemplateStrategy(),
    "replicationcontrollers": ReplicationControllerStrategy(),
    "resourcequotas": ResourceQuotaStrategy(),
    "secrets": SecretStrategy(),
    "serviceaccounts": ServiceAccountStrategy(),
    "services": ServiceStrategy(),
    "mutatingadmissionpolicies.admissionregistration.k8s.io": MutatingPolicyStrategy(),
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io": PolicyBindingStrategy(mutating=True),
    "validatingadmissionpolicies.admissionregistration.k8s.io": ValidatingPolicyStrategy(),
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": PolicyBindingStrategy(mutating=False),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": WebhookStrategy(mutating=True),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": WebhookStrategy(mutating=False),
    "customresourcedefinitions.apiextensions.k8s.io": CustomResourceDefinitionStrategy(),
    "apiservices.apiregistration.k8s.io": ApiServiceStrategy(),
    "controllerrevisions.apps": ControllerRevisionStrategy(),
    "daemonsets.apps": DaemonSetStrategy(),
    "deployments.apps": DeploymentStrategy(),
    "replicasets.apps": ReplicaSetStrategy(),
    "statefulsets.apps": StatefulSetStrategy(),
    "horizontalpodautoscalers.autoscaling": ScalerStrategy(),
    "cronjobs.batch": CronJobStrategy(),
    "jobs.batch": JobStrategy(),
    "certificatesigningrequests.certificates.k8s.io": CertificateSigningRequestStrategy(),
    "clustertrustbundles.certificates.k8s.io": TrustBundleStrategy(),
    "podcertificaterequests.certificates.k8s.io": PodCertificateRequestStrategy(),
    "leases.coordination.k8s.io": LeaseStrategy(),
    "endpointslices.discovery.k8s.io": EndpointSliceStrategy(),
    "events.events.k8s.io": _EVENTS,
    "flowschemas.flowcontrol.apiserver.k8s.io": FlowSchemaStrategy(),
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": PriorityLevelStrategy(),
    "ingressclasses.networking.k8s.io": IngressClassStrategy(),
    "ingresses.networking.k8s.io": IngressStrategy(),
    "ipaddresses.networking.k8s.io": IpAddressStrategy(),
    "networkpolicies.networking.k8s.io": NetworkPolicyStrategy(),
    "servicecidrs.networking.k8s.io": ServiceCidrStrategy(),
    "runtimeclasses.node.k8s.io": RuntimeClassStrategy(),
    "poddisruptionbudgets.policy": PodDisruptionBudgetStrategy(),
    f"clusterrolebindings.{RBAC}": BindingStrategy(namespaced=False),
    f"clusterroles.{RBAC}": RoleStrategy(namespaced=False),
    f"rolebindings.{RBAC}": BindingStrategy(namespaced=True),
    f"roles.{RBAC}": RoleStrategy(namespaced=True),
    "deviceclasses.resource.k8s.io": DeviceClassStrategy(),
    "devicetaintrules.resource.k8s.io": DeviceTaintRuleStrategy(),
    "resourceclaims.resource.k8s.io": ResourceClaimStrategy(),
    "resourceclaimtemplates.resource.k8s.io": ResourceClaimTemplateStrategy(),
    "resourceslices.resource.k8s.io": ResourceSliceStrategy(),
    "priorityclasses.scheduling.k8s.io": PriorityClassStrategy(),
    "csidrivers.storage.k8s.io": CsiDriverStrategy(),
    "csinodes.storage.k8s.io": CsiNodeStrategy(),
    "csistoragecapacities.storage.k8s.io": CsiStorageCapacityStrategy(),
    "storageclasses.storage.k8s.io": StorageClassStrategy(),
    "volumeattachments.storage.k8s.io": VolumeAttachmentStrategy(),
    "volumeattributesclasses.storage.k8s.io": VolumeAttributesClassStrategy(),
    "storageversionmigrations.storagemigration.k8s.io": StorageVersionMigrationStrategy(),
}


def strategy_of(resource: Resource) -> Strategy:
    """The strategy of a row; custom rows bring their own."""
    if found := STRATEGIES.get(resource.qualified):
        return found
    return _REVIEW if resource.verbs == ("create",) else PLAIN
