"""What can be asked, one group of addresses a file."""
