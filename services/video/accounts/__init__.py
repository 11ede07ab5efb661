"""Who may use the service, what they used, and what its operators did: rows beside the jobs."""
