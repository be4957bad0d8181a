/* SPDX-License-Identifier: MIT */
#include "verify/statistics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

static hone_mean mean_of(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += b ? a[i] - b[i] : a[i];
    hone_mean m = {.mean = n ? sum / (double)n : HONE_NAN, .error = HONE_NAN};
    if (n < 2)
        return m;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (b ? a[i] - b[i] : a[i]) - m.mean;
        squares += d * d;
    }
    m.error = sqrt(squares / (double)(n - 1) / (double)n);
    return m;
}

hone_mean hone_mean_of(const double *x, size_t n)
{
    return mean_of(x, NULL, n);
}

hone_mean hone_mean_of_difference(const double *a, const double *b, size_t n)
{
    return mean_of(a, b, n);
}

hone_mean hone_mean_of_share(size_t n_ones, size_t n)
{
    const double share = n ? (double)n_ones / (double)n : HONE_NAN;
    return (hone_mean){.mean = share, .error = n < 2 ? HONE_NAN : sqrt(share * (1 - share) / (double)(n - 1))};
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    if (isnan(x) || isnan(y))
        return (isnan(x) != 0) - (isnan(y) != 0);
    return (x > y) - (x < y);
}

size_t hone_sort(double *x, size_t n)
{
    qsort(x, n, sizeof *x, compare);
    size_t n_nan = 0;
    while (n_nan < n && isnan(x[n - 1 - n_nan]))
        n_nan++;
    return n_nan;
}

double hone_quantile(const double *sorted, size_t n, double share)
{
    if (n == 0)
        return HONE_NAN;
    const double position = share * (double)(n - 1);
    const size_t below = (size_t)position;
    if (below >= n - 1)
        return sorted[n - 1];
    const double part = position - (double)below;
    /* Without this, 0 * infinity would spoil a quantile that lies exactly on a value. */
    if (part == 0)
        return sorted[below];
    return sorted[below] + part * (sorted[below + 1] - sorted[below]);
}

double hone_log_sum_exp(const float *x, size_t n)
{
    assert(n > 0);
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)max);
    return (double)max + log(sum); // cppcheck-suppress invalidFunctionArg ; n > 0, so sum >= 1
}

double hone_kl_divergence(const float *p, double p_lse, const float *q, double q_lse, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double log_p = (double)p[i] - p_lse;
        const double prob = exp(log_p);
        if (prob == 0) /* 0 * log 0 is 0 */
            continue;
        sum += prob * (log_p - ((double)q[i] - q_lse));
    }
    return sum < 0 ? 0 : sum; /* rounding can leave a trace below the true value 0 */
}

size_t hone_argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best])
            best = i;
    return best;
}
