"""What says where a file of the service comes from: its mark, its credentials, and who can be asked about them."""
