"""Templates in Jinja2's language, read by Jinja2 and filled one counted step at a time."""
