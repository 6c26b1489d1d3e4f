"""Where the target keeps things: all below .upstream/, which `make clean` removes."""

from pathlib import Path


class Places:
    """The directories and programs of one checkout."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.kept = checkout / ".upstream"
        self.module = self.kept / "module"
        self.images = self.kept / "images"
        """The folders of Kubernetes' test images."""
        self.root = self.kept / "root"
        """What lies over the machine's own files for pods."""
        self.suite = self.kept / "e2e.test"
        self.agnhost = self.kept / "agnhost"
        self.results = self.kept / "results.json"
        self.logs = self.kept / "logs"
        """What the suite said in its last run."""
        self.cluster = self.kept / "cluster"
        """State, run and log directories of the cluster, gone after it."""
