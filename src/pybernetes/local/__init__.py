"""A whole cluster on one Linux machine: one server, nodes as network namespaces on one bridge."""
