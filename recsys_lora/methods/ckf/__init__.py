"""CKF: a personalised mapping to soft tokens, Multi-LoRA, and several tasks trained together."""
