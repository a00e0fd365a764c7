"""What a run can say by itself to items of checklists: every `Evidence` that a module here defines."""
