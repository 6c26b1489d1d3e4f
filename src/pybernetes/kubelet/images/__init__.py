"""What an image name means to a runtime."""
