"""What curation and training left in storage, shown read-only to keys with the scope ``data``."""
