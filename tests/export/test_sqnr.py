import numpy as np
import pytest

from edgekd.export.sqnr import EQUAL_DB, sqnr_db

SOURCE = np.float32([[3, 4], [0, 5], [4, 3]])


def test_it_is_the_ratio_of_energies_in_decibel():
    # signal 9 + 16 + 25 + 16 + 9 = 75, noise 0.75: a factor of 100
    found = SOURCE + np.float32([[0.5, 0], [0.5, 0.5], [0, 0]])
    assert sqnr_db(SOURCE, found) == pytest.approx(20.0)


def test_equal_answers_are_the_best_there_is():
    assert sqnr_db(SOURCE, SOURCE) == EQUAL_DB == 200.0
    assert sqnr_db(np.zeros((2, 2)), np.zeros((2, 2))) == EQUAL_DB


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_numbers_are_the_worst_there_is(value):
    found = SOURCE.copy()
    found[1, 1] = value
    assert sqnr_db(SOURCE, found) == -EQUAL_DB


@pytest.mark.parametrize(("error", "expected"), [(1.0, 0.0), (0.1, 20.0), (0.001, 60.0)])
def test_noise_without_any_signal_counts_as_an_absolute_error(error, expected):
    assert sqnr_db(np.zeros((3, 2)), np.full((3, 2), error)) == pytest.approx(expected)
