"""What a careless or hostile client must not be able to do to the others."""
