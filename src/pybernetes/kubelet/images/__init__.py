"""What an image name means to a runtime."""

from .names import HOST, BadImage, resolve

__all__ = ["HOST", "BadImage", "resolve"]
