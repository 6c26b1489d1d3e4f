"""What the server answers besides the generic verbs: discovery, OpenAPI, health, streaming."""
