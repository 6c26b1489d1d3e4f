"""The kernel over netlink: links, addresses, routes, neighbours, namespaces, nftables, conntrack.

A general small library: it knows nothing of Kubernetes.
"""
