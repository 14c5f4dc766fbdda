"""`tuningfork library`: one file for each of its commands."""
