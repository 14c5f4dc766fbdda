"""What stands between clients and the engine: an HTTP server that speaks OpenAI's protocol."""
