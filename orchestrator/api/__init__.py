"""The Python interface: what `from orchestrator import ...` gives, and what the verbs call."""
