"""The conversation language: what clients and servers say around a real relay, step by step (docs in `steps`)."""
