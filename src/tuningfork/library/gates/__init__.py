"""What must hold before an alias moves: one gate a file."""
