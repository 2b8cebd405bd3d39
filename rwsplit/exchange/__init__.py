"""The exchange: who talks to whom now. It decides, and does no I/O; docs in ARCHITECTURE.md."""
