"""The client side of the API: transport, calls, watch, informer, cache, kubeconfig."""
