"""Standardisation, principal components, and the space of the rows, computed once for the rows of a fold.

Rows with more columns than there are rows span a space of at most as many dimensions as rows. A penalty on
the length of the coefficients keeps them within that space, so a linear head that is fitted on the rows'
coordinates there is the same head, and of the cost of the rows, not of the columns. Any coordinates do whose
inner products are those of the rows; the triangular factor of these products takes a tenth of the time of
their axes. Both are shared by all strengths and all linear heads.

Source:
    Hastie and Tibshirani (2004), "Efficient quadratic regularization for expression arrays", Biostatistics 5.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainables.common.types import Float32Array, Float64Array, IntArray
from trainables.config.classical_config import ClassicalConfig
from trainables.estimators.estimator import Rows
from trainables.estimators.fitted import Affine, Projection
from trainables.estimators.remembered import MEMORY

_SMALLEST_VARIANCE: Final = 1e-12  # of a direction, as a share of the largest; less is rounding
_SMALLEST_SCALE: Final = (
    1e-9  # of a column, as a share of its largest value; a constant column stays as it is
)
_COLUMNS_AT_ONCE: Final = 2048  # in double precision; all at once are gigabytes, slow to get and to read
_SHARED_AXES: Final = 128  # the most that the spaces ask for; whoever wants fewer shares them
_OWN_SPACE: Final = 1e-8  # square that each row has for itself, as a share of the mean one: rows may repeat


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Rows in the coordinates of their principal axes, the largest variance first.

    Attributes:
        centre: Mean of the columns, shape (D,).
        scale: Deviation of the columns, or ones, shape (D,).
        coordinates: Rows in the axes, shape (rows, r).
        lengths: Singular value of each axis, descending, shape (r,).
    """

    centre: Float64Array
    scale: Float64Array
    coordinates: Float64Array
    lengths: Float64Array

    def first(self, count: int) -> "Decomposition":
        """Keep the first axes, as many as there are."""
        return Decomposition(self.centre, self.scale, self.coordinates[:, :count], self.lengths[:count])

    def row_weights(self, coefficients: Float64Array) -> Float64Array:
        """Return coefficients of the axes, shape (r, K), as weights of the rows, shape (rows, K)."""
        weights: Float64Array = self.coordinates @ (coefficients / self.lengths[:, None] ** 2)
        return weights


@dataclass(frozen=True, slots=True)
class RowSpace:
    """Rows of more columns than rows, in as many coordinates as there are rows.

    Attributes:
        centre: Mean of the columns, shape (D,).
        scale: Deviation of the columns, or ones, shape (D,).
        coordinates: Lower triangular, shape (rows, rows); its products of rows are theirs.
    """

    centre: Float64Array
    scale: Float64Array
    coordinates: Float64Array

    def row_weights(self, coefficients: Float64Array) -> Float64Array:
        """Return coefficients of the coordinates as weights of the rows, both of shape (rows, K)."""
        from scipy.linalg import solve_triangular  # slow to import, and nets do not need it

        weights: Float64Array = solve_triangular(self.coordinates, coefficients, trans="T", lower=True)
        return weights


def scaling_of(rows: Rows, *, standardize: bool) -> tuple[Float64Array, Float64Array]:
    """Centre and scale of the columns, shape (D,) each; the scale is one without standardisation.

    A column whose deviation is mere rounding has the scale one, as in scikit-learn's `StandardScaler`.
    """
    inputs = rows.inputs
    centre: Float64Array = inputs.mean(axis=0, dtype=np.float64)
    if not standardize:
        return centre, np.ones(inputs.shape[1])
    scale = np.concatenate(
        [inputs[:, part].std(axis=0, dtype=np.float64) for part in _column_slices(inputs.shape[1])]
    )
    largest = np.abs(inputs).max(axis=0)
    return centre, np.where(scale > _SMALLEST_SCALE * largest, scale, 1.0)


def _column_slices(columns: int) -> list[slice]:
    return [slice(start, start + _COLUMNS_AT_ONCE) for start in range(0, columns, _COLUMNS_AT_ONCE)]


def _prepared(inputs: Float32Array, centre: Float64Array, scale: Float64Array, part: slice) -> Float64Array:
    """Some columns of the rows, centred and scaled, shape (rows, columns)."""
    prepared: Float64Array = inputs[:, part] - centre[part]
    prepared /= scale[part]
    return prepared


def _products(inputs: Float32Array, centre: Float64Array, scale: Float64Array) -> Float64Array:
    """Inner products of centred and scaled rows, shape (rows, rows)."""
    products = np.zeros((len(inputs), len(inputs)))
    for part in _column_slices(inputs.shape[1]):
        prepared = _prepared(inputs, centre, scale, part)
        products += prepared @ prepared.T
    return products


def _products_of_rows(
    rows: Rows, centre: Float64Array, scale: Float64Array, *, standardize: bool
) -> Float64Array:
    """Inner products of the centred and scaled rows of a fold, shape (rows, rows).

    Without standardisation those of all folds' rows hold them, but for the centre, which is taken out of
    products as it would be of rows. So they are computed once for all folds, if they can be remembered
    beside the space of a fold's rows, which would take their place otherwise.
    """
    whole = rows.whole
    if standardize or whole is None:
        return _products(rows.inputs, centre, scale)
    if 8 * (len(whole.inputs) ** 2 + len(rows.inputs) ** 2) > MEMORY.most_bytes:
        return _products(rows.inputs, centre, scale)

    def of_all() -> Float64Array:
        return _products(whole.inputs, whole.inputs.mean(axis=0, dtype=np.float64), scale)

    of_whole = MEMORY.recall(("products of all", whole.key), of_all)
    own: Float64Array = of_whole[np.ix_(whole.places, whole.places)]
    means = own.mean(axis=0)
    own -= means[:, None]
    own -= means - means.mean()
    return own


def _combined(rows: Rows, centre: Float64Array, scale: Float64Array, weights: Float64Array) -> Float64Array:
    """Combinations (D, K) of the centred and scaled rows with weights (rows, K)."""
    parts = _column_slices(rows.inputs.shape[1])
    return np.concatenate([_prepared(rows.inputs, centre, scale, part).T @ weights for part in parts])


def decompose(rows: Rows, *, standardize: bool, count: int) -> Decomposition:
    """Return the rows in their first principal axes; remembered for rows with a key.

    Args:
        rows: The rows.
        standardize: Scale the columns to unit deviation first.
        count: Number of axes; there are fewer if the rows have fewer.
    """
    most = max(count, _SHARED_AXES)
    if not rows.key:
        return _decomposed(rows, standardize=standardize, count=most).first(count)
    key = ("axes", rows.key, standardize, most)
    return MEMORY.recall(key, lambda: _decomposed(rows, standardize=standardize, count=most)).first(count)


def _decomposed(rows: Rows, *, standardize: bool, count: int) -> Decomposition:
    centre, scale = scaling_of(rows, standardize=standardize)
    if rows.inputs.shape[1] <= rows.inputs.shape[0]:
        prepared = _prepared(rows.inputs, centre, scale, slice(None))
        values, axes = _last_axes(prepared.T @ prepared, count)
        kept = _worth_keeping(values)
        return Decomposition(centre, scale, prepared @ axes[:, kept], np.sqrt(values[kept]))
    values, left = _last_axes(_products_of_rows(rows, centre, scale, standardize=standardize), count)
    kept = _worth_keeping(values)
    lengths = np.sqrt(values[kept])
    return Decomposition(centre, scale, left[:, kept] * lengths, lengths)


def _last_axes(products: Float64Array, count: int) -> tuple[Float64Array, Float64Array]:
    """The largest eigenvalues of a symmetric matrix, ascending, and their vectors; all if there are few."""
    from scipy.linalg import eigh  # slow to import, and nets do not need it

    size = len(products)
    if 2 * count >= size:
        values, vectors = np.linalg.eigh(products)
        return values[-count:], vectors[:, -count:]
    found: tuple[Float64Array, Float64Array] = eigh(products, subset_by_index=(size - count, size - 1))
    return found


def row_space(rows: Rows, *, standardize: bool) -> RowSpace:
    """Return rows of more columns than rows in the coordinates of their own space; remembered with a key."""
    if not rows.key:
        return _row_space(rows, standardize=standardize)
    return MEMORY.recall(("rows", rows.key, standardize), lambda: _row_space(rows, standardize=standardize))


def _row_space(rows: Rows, *, standardize: bool) -> RowSpace:
    centre, scale = scaling_of(rows, standardize=standardize)
    products = _products_of_rows(rows, centre, scale, standardize=standardize)
    own = max(_OWN_SPACE * np.trace(products) / len(products), np.finfo(np.float64).tiny)
    products.flat[:: len(products) + 1] += own
    return RowSpace(centre, scale, np.linalg.cholesky(products).astype(np.float64, copy=False))


def _worth_keeping(values: Float64Array) -> IntArray:
    """Places of the eigenvalues that are more than rounding, the largest first."""
    order = np.argsort(values)[::-1]
    return order[values[order] > _SMALLEST_VARIANCE * max(values.max(), np.finfo(np.float64).tiny)]


@dataclass(frozen=True, slots=True)
class LinearSpace:
    """Coordinates in which a linear head is fitted, and the way back to the columns.

    Attributes:
        coordinates: Shape (rows, r).
        columns: Number of columns that the coordinates stand for: the components, or all columns.
        axes: What the coordinates were made of; None where they are the columns themselves.
        centre: Mean of the columns, or zeros, shape (D,).
        scale: Deviation of the columns, or ones, shape (D,).
    """

    coordinates: Float64Array
    columns: int
    axes: Decomposition | RowSpace | None
    centre: Float64Array
    scale: Float64Array

    def affine(self, rows: Rows, coefficients: Float64Array, intercept: Float64Array) -> Affine:
        """Return the head on the columns.

        Args:
            rows: The rows that the space was made of.
            coefficients: Coefficients of the coordinates, shape (r, K).
            intercept: Shape (K,).
        """
        if self.axes is not None:
            # The head is a combination of the rows, so that no array of columns and axes is needed.
            coefficients = _combined(rows, self.centre, self.scale, self.axes.row_weights(coefficients))
        return Affine(
            self.centre, coefficients / self.scale[:, None], np.asarray(intercept, dtype=np.float64)
        )


def linear_space(config: ClassicalConfig, rows: Rows) -> LinearSpace:
    """Return the coordinates for a linear head: the columns, their principal components, or the row space.

    Few columns stay as they are, many are the space of the rows; `pca` keeps the first principal components.
    """
    columns = rows.inputs.shape[1]
    if config.pca:
        axes = decompose(rows, standardize=config.standardize, count=config.pca)
        return LinearSpace(axes.coordinates, axes.coordinates.shape[1], axes, axes.centre, axes.scale)
    if columns > len(rows.labels):
        own = row_space(rows, standardize=config.standardize)
        return LinearSpace(own.coordinates, columns, own, own.centre, own.scale)
    centre, scale = scaling_of(rows, standardize=config.standardize)
    return LinearSpace((rows.inputs - centre) / scale, columns, None, centre, scale)


def prepared_inputs(config: ClassicalConfig, rows: Rows) -> tuple[Float64Array, Projection | None]:
    """Return rows as a head that is not linear takes them, and how others are prepared in the same way.

    Returns:
        Prepared rows, shape (rows, d), and the preparation; None where the features stay as they are.
    """
    if not config.pca:
        if not config.standardize:
            return rows.inputs.astype(np.float64), None
        projection = Projection(*scaling_of(rows, standardize=True))
        return (rows.inputs - projection.centre) / projection.scale, projection
    axes = decompose(rows, standardize=config.standardize, count=config.pca)
    basis = _combined(rows, axes.centre, axes.scale, axes.coordinates / axes.lengths**2)
    return axes.coordinates, Projection(axes.centre, axes.scale, basis)
