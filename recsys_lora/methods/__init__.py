"""Methods: what turns prompts and collaborative vectors into scores."""
