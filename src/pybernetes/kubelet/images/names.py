"""Image names of the process runtime: `host` is the node's own file system; there is nothing else without an engine."""

import re

HOST = "host"


class BadImage(Exception):
    """An image that cannot be had: `reason` is ErrImagePull or InvalidImageName."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


_NAME = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?/)?[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*"
    r"(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def resolve(image: str) -> str:
    """The image's reference. Raises BadImage, with what to do about it."""
    if image.partition(":")[0] == HOST and "/" not in image:
        return HOST
    if not _NAME.fullmatch(image):
        message = f'Failed to apply default image tag "{image}": couldn\'t parse image name: invalid reference format'
        raise BadImage("InvalidImageName", message)
    raise BadImage(
        "ErrImagePull",
        f'cannot run image "{image}": this node runs pods as processes and has no container engine. '
        f"Set `image: {HOST}` to run the command on the node's own file system",
    )
