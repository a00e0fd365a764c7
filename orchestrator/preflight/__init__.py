"""Everything that is found out before the first trial: data, split, machine, and which models fit."""
