"""The report of a search: one page that can be handed on, figures, and checklists of reporting guidelines."""
