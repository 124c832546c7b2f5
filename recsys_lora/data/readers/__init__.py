"""One module a raw format. A reader yields the two tables of `recsys_lora.data.schema` and knows nothing of splits."""
