"""kube-proxy: Services and EndpointSlices into kernel rules."""
