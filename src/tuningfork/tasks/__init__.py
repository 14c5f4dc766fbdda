"""What is right: tasks, prompt templates, labels, metrics, and how an example becomes token ids."""
