"""Items of reporting guidelines, one YAML file each; `orchestrator.report.checklist` reads them."""
