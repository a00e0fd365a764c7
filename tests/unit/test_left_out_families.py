"""What a set that is left out of a table takes with it."""

import numpy as np

from benchmarks.regret import first_points, mean_and_error, share_of, tried
from orchestrator import packaged_table
from orchestrator.simulation.table import family_of


def test_a_phantom_takes_phantoms_of_other_subtleties_with_it() -> None:
    table = packaged_table()
    assert {family_of(name) for name in table.without("phantom-0.5").sets} == {"films", "idc", "infn", "mias"}
    assert set(table.sets) - set(table.without("infn").sets) == {"infn"}


def test_what_is_learned_for_a_phantom_is_what_is_learned_for_each() -> None:
    assert first_points("phantom-0.3") == first_points("phantom-0.9") != first_points("infn")
    assert tried("phantom-0.3") == tried("phantom-0.9") != tried("infn")


def test_a_share_of_a_reference_has_an_interval_that_holds_it() -> None:
    reference = np.array([0.1, 0.2, 0.3, 0.1, 0.2])
    assert share_of(reference / 2, reference) == "0.50 [0.50, 0.50]"
    share, low, high = share_of(np.array([0.0, 0.2, 0.1, 0.1, 0.05]), reference).replace("[", "").split(" ")
    assert float(low.strip(",")) < float(share) < float(high.strip("]"))
    assert mean_and_error(np.array([0.1, 0.3])) == "0.200 ± 0.100"
