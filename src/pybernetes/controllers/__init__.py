"""kube-controller-manager: one file per controller; CONTROLLERS is the table."""

from .shared import ControllersConfig
from .table import ACCOUNTS, CONTROLLERS, Controllers

__all__ = ["ACCOUNTS", "CONTROLLERS", "Controllers", "ControllersConfig"]
