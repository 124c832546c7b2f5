"""What a language model is asked: which rows become questions, what their answers are, and how they are measured."""
