"""What commands share: options with one meaning everywhere, and errors told as one message."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

STATE_ROOT = click.option(
    "--state-root", default="/var/lib/pybernetes", show_default=True, envvar="PYBERNETES_STATE_ROOT",
    help="Where clusters keep their state.",
)  # fmt: skip
RUN_ROOT = click.option(
    "--run-root", default="/run/pybernetes", show_default=True, envvar="PYBERNETES_RUN_ROOT",
    help="Where clusters keep namespaces, sockets and process records.",
)  # fmt: skip
LOG_ROOT = click.option(
    "--log-root", default="/var/log/pybernetes", show_default=True, envvar="PYBERNETES_LOG_ROOT",
    help="Where clusters write their logs.",
)  # fmt: skip
NAME = click.option("--name", default="pybernetes", show_default=True, help="The cluster's name.")
CONFIG = click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="YAML file; flags go over it.")


def log_options(command: F) -> F:
    """--log-level and --log-format."""
    command = click.option("--log-format", type=click.Choice(["text", "json"]), help="Format of log lines.")(command)
    return click.option("--log-level", help="debug, info, warning or error.")(command)


def friendly(command: F) -> F:
    """Turn the errors a user can mend into one message and exit status 1."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        from pybernetes.local import CannotStart

        from .config import ConfigError

        try:
            return command(*args, **kwargs)
        except (CannotStart, ConfigError) as error:
            raise click.ClickException(str(error)) from error
        except PermissionError as error:
            what = f"{error.filename}: permission denied" if error.filename else str(error)
            raise click.ClickException(f"{what}; run it as root (sudo)") from error

    return run  # type: ignore[return-value]
