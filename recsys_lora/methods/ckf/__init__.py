"""CKF: a personalised mapping into soft tokens, Multi-LoRA, several tasks trained together."""
