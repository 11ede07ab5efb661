"""Who works off the ledger: samplers and decoders, and what they need to do so."""
