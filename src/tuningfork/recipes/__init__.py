"""Jobs: each wires the layers below into one thing a user asks for."""
