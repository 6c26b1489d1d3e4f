"""Container runtimes behind one protocol: fake (in memory), process (no engine)."""
