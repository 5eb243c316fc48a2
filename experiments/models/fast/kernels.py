"""Compiled loops over the points of one sample; their callers give each sample to a thread.

They release the GIL and start no thread of their own (see mixkit.threads). Arrays are contiguous; N points, S queries
or centres, K neighbours, C channels.
"""

from __future__ import annotations

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"})  # NaN must stay NaN
BUCKETS = 64  # in `largest`
PARTIAL = 64  # rows summed in their own precision before float64 takes over


@compiled
def largest(scores, out):  # type: ignore[no-untyped-def]
    """Columns of the K largest scores (S, N) of each row, largest first, the lower column at a tie, to out (S, K).

    Of 64 buckets of columns, the K-th largest maximum is a bound that K columns reach and few others do: one pass
    without branches finds those, and only they are sorted. Places that NaN leaves over hold column 0.
    """
    rows, columns = scores.shape
    size = out.shape[1]
    maxima, best = np.empty(BUCKETS, scores.dtype), np.empty(size, scores.dtype)
    candidates = np.empty(columns + 1, np.int64)
    for row in range(rows):
        line = scores[row]
        bound = scores.dtype.type(-np.inf)
        if size <= BUCKETS:
            maxima[:] = bound
            for start in range(0, columns, BUCKETS):
                for bucket in range(min(BUCKETS, columns - start)):
                    score = line[start + bucket]
                    maxima[bucket] = score if score > maxima[bucket] else maxima[bucket]
            bound = scores.dtype.type(np.inf)
            for bucket in range(BUCKETS):
                score = maxima[bucket]
                above = 0
                for other in range(BUCKETS):
                    above += maxima[other] > score
                if above < size and score < bound:
                    bound = score
        count = 0
        for column in range(columns):
            candidates[count] = column
            count += line[column] >= bound
        out[row, :] = 0
        filled = 0
        for candidate in range(count):
            column = candidates[candidate]
            score = line[column]
            if filled < size:
                place = filled
                filled += 1
            elif score > best[size - 1]:
                place = size - 1
            else:
                continue
            while place > 0 and best[place - 1] < score:
                best[place] = best[place - 1]
                out[row, place] = out[row, place - 1]
                place -= 1
            best[place] = score
            out[row, place] = column


@compiled
def farthest(points, start, out):  # type: ignore[no-untyped-def]
    """Farthest point sampling of points (3, N) from ``start`` to out (S,); the lower index at a tie."""
    size = points.shape[1]
    x, y, z = points[0], points[1], points[2]
    distance = np.full(size, np.inf, points.dtype)
    current = start
    for place in range(len(out)):
        out[place] = current
        a, b, c = x[current], y[current], z[current]
        top = points.dtype.type(-1)
        for i in range(size):
            gap = (x[i] - a) * (x[i] - a) + (y[i] - b) * (y[i] - b) + (z[i] - c) * (z[i] - c)
            distance[i] = min(distance[i], gap)
            top = max(top, distance[i])
        for i in range(size):
            if distance[i] == top:
                current = i
                break


@compiled
def within(points, centres, radius, out):  # type: ignore[no-untyped-def]
    """The first K points (N, 3) nearer than ``radius`` to each centre (S, 3), in their order, to out (S, K).

    The first fills the places that are left; 0 where there is none.
    """
    limit = points.dtype.type(radius) * points.dtype.type(radius)
    for row in range(len(centres)):
        a, b, c = centres[row, 0], centres[row, 1], centres[row, 2]
        count = 0
        for i in range(len(points)):
            x, y, z = points[i, 0] - a, points[i, 1] - b, points[i, 2] - c
            if x * x + y * y + z * z < limit:
                out[row, count] = i
                count += 1
                if count == out.shape[1]:
                    break
        out[row, count:] = out[row, 0] if count else 0


@compiled
def reduce_edges(values, centres, index, top, place, sums, squares):  # type: ignore[no-untyped-def]
    """Of h[s, k] = values[index[s, k]] + centres[s]: its maximum over k, where that is, the sums of h and h * h."""
    channels = values.shape[1]
    total, square = np.empty(channels, values.dtype), np.empty(channels, values.dtype)
    for s in range(len(index)):
        centre, high, where = centres[s], top[s], place[s]
        total[:] = 0
        square[:] = 0
        high[:] = -np.inf
        where[:] = 0
        for k in range(index.shape[1]):
            line = values[index[s, k]]
            for c in range(channels):
                h = line[c] + centre[c]
                total[c] += h
                square[c] += h * h
                better = h > high[c]
                high[c] = h if better else high[c]
                where[c] = k if better else where[c]
        for c in range(channels):
            sums[c] += total[c]
            squares[c] += square[c]
            high[c] = high[c] if total[c] == total[c] else np.nan  # comparisons have skipped a NaN


@compiled
def reduce_edges_back(values, centres, index, place, grad, shift, slope, to_values, to_centres):  # type: ignore[no-untyped-def]
    """The transpose: each h[s, k] has the gradient shift + slope * h, and grad[s] where it is the maximum."""
    channels = values.shape[1]
    for s in range(len(index)):
        centre, down, where, back = centres[s], grad[s], place[s], to_centres[s]
        for k in range(index.shape[1]):
            line, forth = values[index[s, k]], to_values[index[s, k]]
            for c in range(channels):
                g = shift[c] + slope[c] * (line[c] + centre[c]) + (down[c] if where[c] == k else np.float32(0))
                forth[c] += g
                back[c] += g


@compiled
def spread_edges(values, centres, index, out):  # type: ignore[no-untyped-def]
    """out[s, k] = values[index[s, k]] + centres[s]."""
    for s in range(len(index)):
        centre = centres[s]
        for k in range(index.shape[1]):
            line, target = values[index[s, k]], out[s, k]
            for c in range(len(centre)):
                target[c] = line[c] + centre[c]


@compiled
def spread_edges_back(grad, index, to_values, to_centres):  # type: ignore[no-untyped-def]
    """The transpose of `spread_edges`, added to the two arrays."""
    for s in range(len(index)):
        back = to_centres[s]
        for k in range(index.shape[1]):
            forth, down = to_values[index[s, k]], grad[s, k]
            for c in range(len(back)):
                forth[c] += down[c]
                back[c] += down[c]


@compiled
def row_sums(rows, sums, squares):  # type: ignore[no-untyped-def]
    """By channel, the sum and the sum of squares of rows (R, C)."""
    channels = rows.shape[1]
    total, square = np.empty(channels, rows.dtype), np.empty(channels, rows.dtype)
    for start in range(0, len(rows), PARTIAL):
        total[:] = 0
        square[:] = 0
        for r in range(start, min(start + PARTIAL, len(rows))):
            line = rows[r]
            for c in range(channels):
                total[c] += line[c]
                square[c] += line[c] * line[c]
        for c in range(channels):
            sums[c] += total[c]
            squares[c] += square[c]


@compiled
def scale_rows(rows, scale, shift, slope, out):  # type: ignore[no-untyped-def]
    """The leaky ReLU of rows * scale + shift."""
    for r in range(len(rows)):
        line, target = rows[r], out[r]
        for c in range(len(line)):
            u = line[c] * scale[c] + shift[c]
            target[c] = u if not u < 0 else u * slope


@compiled
def scale_rows_sums(rows, grad, scale, shift, slope, sums, products):  # type: ignore[no-untyped-def]
    """By channel, the sum of the gradient before the leaky ReLU, and of its products with the rows."""
    channels = rows.shape[1]
    total, product = np.empty(channels, rows.dtype), np.empty(channels, rows.dtype)
    for start in range(0, len(rows), PARTIAL):
        total[:] = 0
        product[:] = 0
        for r in range(start, min(start + PARTIAL, len(rows))):
            line, down = rows[r], grad[r]
            for c in range(channels):
                g = down[c] if line[c] * scale[c] + shift[c] > 0 else down[c] * slope
                total[c] += g
                product[c] += g * line[c]
        for c in range(channels):
            sums[c] += total[c]
            products[c] += product[c]


@compiled
def scale_rows_back(rows, grad, scale, shift, slope, constant, linear, out):  # type: ignore[no-untyped-def]
    """The gradient of the rows: that before the leaky ReLU times the scale, and constant + linear * rows."""
    for r in range(len(rows)):
        line, down, target = rows[r], grad[r], out[r]
        for c in range(len(line)):
            g = down[c] if line[c] * scale[c] + shift[c] > 0 else down[c] * slope
            target[c] = g * scale[c] + constant[c] + linear[c] * line[c]


@compiled
def pool_rows(rows, scale, shift, slope, top, place, counts, products):  # type: ignore[no-untyped-def]
    """By channel of u = rows * scale + shift: its maximum, where, and sums of the leaky ReLU's slope s, s * rows."""
    counts[:] = 0
    products[:] = 0
    top[:] = -np.inf
    place[:] = 0
    for r in range(len(rows)):
        line = rows[r]
        for c in range(len(line)):
            u = line[c] * scale[c] + shift[c]
            s = rows.dtype.type(1) if u > 0 else slope
            counts[c] += s
            products[c] += s * line[c]
            better = u > top[c]
            top[c] = u if better else top[c]
            place[c] = r if better else place[c]


@compiled
def pool_rows_back(rows, scale, shift, slope, place, to_top, to_mean, constant, linear, out):  # type: ignore[no-untyped-def]
    """The gradient of the rows, given that of the maximum and, for each row, that of the mean."""
    zero, one = rows.dtype.type(0), rows.dtype.type(1)
    for r in range(len(rows)):
        line, target = rows[r], out[r]
        for c in range(len(line)):
            s = one if line[c] * scale[c] + shift[c] > 0 else slope
            g = s * to_mean[c] + (to_top[c] if place[c] == r else zero)
            target[c] = g * scale[c] + constant[c] + linear[c] * line[c]
