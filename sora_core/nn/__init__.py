"""Building blocks of networks: attention over variable lengths, rotary positions, small layers."""
