"""The video service: an HTTP API without state, a ledger of jobs in SQL, and samplers that work them off."""
