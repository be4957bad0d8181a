/* SPDX-License-Identifier: MIT */
/* Gates: METRIC OP NUMBER. */
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "hone/verify.h"
#include "verify/statistics.h"

/* A metric is a double of hone_divergence, with its standard error where it has one. */
static const struct metric {
    const char *name;
    size_t value, error; /* offsets; error 0: none */
} metrics[] = {
    {"kld.mean", offsetof(hone_divergence, kld_mean), offsetof(hone_divergence, kld_stderr)},
    {"kld.median", offsetof(hone_divergence, kld_median), 0},
    {"kld.p99", offsetof(hone_divergence, kld_p99), 0},
    {"kld.max", offsetof(hone_divergence, kld_max), 0},
    {"top1.agreement", offsetof(hone_divergence, top1), offsetof(hone_divergence, top1_stderr)},
    {"ppl_ratio.value", offsetof(hone_divergence, ppl_ratio), offsetof(hone_divergence, ppl_ratio_stderr)},
    {"reference.ppl", offsetof(hone_divergence, reference.ppl), offsetof(hone_divergence, reference.ppl_stderr)},
    {"candidate.ppl", offsetof(hone_divergence, candidate.ppl), offsetof(hone_divergence, candidate.ppl_stderr)},
    {"candidate.bpw", offsetof(hone_divergence, candidate_bpw), 0},
    {"candidate.bytes", offsetof(hone_divergence, candidate_nbytes), 0},
};

enum comparison { LESS, LESS_EQUAL, GREATER, GREATER_EQUAL };

struct gate {
    const struct metric *metric;
    enum comparison op;
    double limit;
};

static hone_status fail_at(hone_error *err, const char *expr, const char *at, const char *what)
{
    return hone_fail(err, HONE_ERROR_ARG, (uint64_t)(at - expr), NULL, "gate \"%s\": %s", expr, what);
}

static const char *skip_spaces(const char *p)
{
    return p + strspn(p, " \t");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The end of a decimal number at p, or p itself. Stricter than strtod(): no "inf", "nan" or hexadecimal. */
static const char *number_end(const char *p)
{
    const char *q = p + (*p == '+' || *p == '-');
    const char *digits = q;
    while (is_digit(*q))
        q++;
    size_t n = (size_t)(q - digits);
    if (*q == '.')
        for (q++; is_digit(*q); q++)
            n++;
    if (n == 0)
        return p;
    if (*q == 'e' || *q == 'E') {
        const char *exponent = q + 1 + (q[1] == '+' || q[1] == '-');
        if (!is_digit(*exponent))
            return p;
        for (q = exponent; is_digit(*q);)
            q++;
    }
    return q;
}

/* strtod() reads a decimal comma where the program's locale has one. */
static double read_number(const char *p)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c)
        return HONE_NAN; /* out of memory: the gate fails rather than passes */
    const locale_t previous = uselocale(c);
    const double value = strtod(p, NULL);
    (void)uselocale(previous);
    freelocale(c);
    return value;
}

static hone_status parse(const char *expr, struct gate *out, hone_error *err)
{
    const char *p = skip_spaces(expr);
    const size_t len = strcspn(p, " \t<>=");
    out->metric = NULL;
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        if (strlen(metrics[i].name) == len && memcmp(metrics[i].name, p, len) == 0)
            out->metric = &metrics[i];
    if (!out->metric)
        return fail_at(err, expr, p, len ? "no such metric" : "a metric is expected here");
    p = skip_spaces(p + len);
    if (*p != '<' && *p != '>')
        return fail_at(err, expr, p, "one of < <= > >= is expected here");
    out->op = *p == '<' ? LESS : GREATER;
    if (*++p == '=') {
        out->op = out->op == LESS ? LESS_EQUAL : GREATER_EQUAL;
        p++;
    }
    p = skip_spaces(p);
    const char *end = number_end(p);
    if (end == p)
        return fail_at(err, expr, p, "a number is expected here");
    const char *rest = skip_spaces(end);
    if (*rest)
        return fail_at(err, expr, rest, "nothing may follow the number");
    out->limit = read_number(p);
    if (isinf(out->limit))
        return fail_at(err, expr, p, "the number is too large");
    return HONE_OK;
}

static double read_double(const hone_divergence *d, size_t offset)
{
    double value;
    memcpy(&value, (const char *)d + offset, sizeof value);
    return value;
}

hone_status hone_gate_check(const char *expr, const hone_divergence *d, hone_gate_result *out, hone_error *err)
{
    memset(out, 0, sizeof *out);
    const size_t len = strlen(expr);
    if (len >= sizeof out->expr)
        return hone_fail(err, HONE_ERROR_ARG, sizeof out->expr - 1, NULL, "a gate has at most %zu characters",
                         sizeof out->expr - 1);
    struct gate gate = {0};
    HONE_TRY(parse(expr, &gate, err));
    memcpy(out->expr, expr, len + 1);
    const bool bytes = gate.metric->value == offsetof(hone_divergence, candidate_nbytes);
    const double value = bytes ? (double)d->candidate_nbytes : read_double(d, gate.metric->value);
    out->value = value;
    out->value_stderr = gate.metric->error ? read_double(d, gate.metric->error) : HONE_NAN;
    /* Every comparison with a NaN is false. */
    out->pass = gate.op == LESS         ? value < gate.limit
                : gate.op == LESS_EQUAL ? value <= gate.limit
                : gate.op == GREATER    ? value > gate.limit
                                        : value >= gate.limit;
    return HONE_OK;
}
