"""What curation costs: against decoding alone, by stage, and in memory."""
