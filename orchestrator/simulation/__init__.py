"""Searches that are replayed from a table of results: hours of search in milliseconds.

A `ResultTable` holds what configurations did on sets, epoch by epoch; `packaged_table` reads one.
`replay_search` runs a search on one of its sets with the study, sampler, pruner, terminator and allowance of
a real search, where only the training and the clock are the table's. So it compares ways to search.

>>> from orchestrator import ReplayedSearch, packaged_table, replay_search
>>> found = replay_search(packaged_table(), "infn", ReplayedSearch(trials=4, sampler="random"))
>>> len(found.trials), 0.0 <= found.regret_after(4) <= 1.0
(4, True)
"""
