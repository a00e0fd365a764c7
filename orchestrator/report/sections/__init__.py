"""All sections of the report: every `Section` that a module of this folder defines."""
