"""A real primary with streaming replicas on this machine, started and removed in seconds.

`rwsplit demo`, the tests and the benchmark use it. Everything here is synchronous; a trio program
calls it through `trio.to_thread.run_sync`.
"""
