"""Parts of the comparison of all soft-prompt methods with each other and with PEFT."""
