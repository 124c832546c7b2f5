"""One module per raw format. A reader yields the tables of `recsys_lora.data.schema` and ignores splits."""
