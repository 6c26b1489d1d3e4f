"""Protobuf request bodies into API objects."""
