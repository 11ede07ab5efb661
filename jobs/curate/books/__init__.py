"""What is done and what lies there: the ledger, its files of latents, and the account of both."""
