"""kube-controller-manager: one file per controller; CONTROLLERS is the table."""

from .shared import ControllersConfig
from .table import CONTROLLERS, Controllers

__all__ = ["CONTROLLERS", "Controllers", "ControllersConfig"]
