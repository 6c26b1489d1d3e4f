"""Rules of roles in few words, for the tables of default roles."""

from collections.abc import Sequence

from pybernetes.api.objects import Obj

GROUP = "rbac.authorization.k8s.io"
READ = ("get", "list", "watch")
EDIT = ("create", "delete", "deletecollection", "patch", "update")
ALL = ("*",)


def rule(groups: str, resources: str, verbs: Sequence[str] | str, names: Sequence[str] = ()) -> Obj:
    """Groups and resources as words; the core group is "core". Verbs may be words too."""
    found: Obj = {
        "apiGroups": ["" if one == "core" else one for one in groups.split()],
        "resources": resources.split(),
        "verbs": verbs.split() if isinstance(verbs, str) else list(verbs),
    }
    return found | ({"resourceNames": list(names)} if names else {})


def paths(urls: str, verbs: Sequence[str] = ("get",)) -> Obj:
    return {"nonResourceURLs": urls.split(), "verbs": list(verbs)}


EVENTS = rule("core events.k8s.io", "events", "create patch update")
REVIEWS = (
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "subjectaccessreviews", "create"),
)
