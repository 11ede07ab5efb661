"""From a request's parameters to accepted jobs."""
