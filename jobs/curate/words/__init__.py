"""A clip's words: those beside the footage, and those of an endpoint."""
