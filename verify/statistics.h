/* SPDX-License-Identifier: MIT */
/* Statistics over positions, in f64. */
#ifndef HONE_STATISTICS_H
#define HONE_STATISTICS_H

#include <math.h>
#include <stddef.h>

#define HONE_NAN ((double)NAN)

/* A mean and its standard error, sqrt(variance / n) with the variance's n - 1 form; the error is NaN for fewer than
 * two. */
typedef struct hone_mean {
    double mean, error;
} hone_mean;

/* hone_mean_of() of n values; both NaN when n is 0. */
hone_mean hone_mean_of(const double *x, size_t n);

/* hone_mean_of_difference() is the mean of a[i] - b[i]: paired, so what both sides share cancels out of the error. */
hone_mean hone_mean_of_difference(const double *a, const double *b, size_t n);

/* hone_mean_of_share() is the mean of n values of which n_ones are 1 and the others 0. */
hone_mean hone_mean_of_share(size_t n_ones, size_t n);

/* hone_sort() puts values in ascending order. Returns how many are NaN; those come last. */
size_t hone_sort(double *x, size_t n);

/* hone_quantile() of n sorted values at share 0 .. 1: between two of them in proportion (position share * (n - 1)). NaN
 * for n = 0. */
double hone_quantile(const double *sorted, size_t n, double share);

/* hone_log_sum_exp() is log(sum of exp(x)); NaN when an element is NaN or +infinity, or all are -infinity. */
double hone_log_sum_exp(const float *x, size_t n);

/*
 * hone_kl_divergence() is KL(P || Q) in nats of the distributions with logits p and q, whose log-sum-exps are given.
 * A token that P rules out counts nothing; one that only Q rules out makes it infinite. Never below 0, save NaN.
 */
double hone_kl_divergence(const float *p, double p_lse, const float *q, double q_lse, size_t n);

/* hone_argmax() returns the index of the largest element; the first of equals. */
size_t hone_argmax(const float *x, size_t n);

#endif
