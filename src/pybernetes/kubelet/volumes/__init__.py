"""Volumes of pods as directories: configMap, secret, emptyDir, hostPath, projected, downwardAPI."""
