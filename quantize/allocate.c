/* SPDX-License-Identifier: MIT */
#include "quantize/allocate.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

/* Partial assignments kept after an item. More than a few thousand are rare. */
enum { MAX_STATES = 1 << 17 };

/* What is limited is the weight, what is to be small the value: bytes and cost, or the other way round. */
struct choice {
    double weight, value;
};

struct state {
    double weight, value;
    uint32_t parent; /* in the layer before */
    uint32_t pick;
};

struct layer {
    struct state *states;
    size_t n;
};

struct problem {
    const hone_allocation_item *items;
    size_t n;
    bool by_cost; /* the cost is limited, the bytes are to be few */
    double limit, price;
    double *rest_value;  /* (n + 1) least value + price * weight that the items from i on add */
    double *rest_weight; /* (n + 1) least weight that they add */
    double bound, best;  /* of the value: no assignment has less; the best found has this */
    size_t *picked;
    struct layer *layers; /* (n + 1) */
    struct state *pool;   /* extensions of a layer */
    size_t cap_pool;
    bool exact;
};

static struct choice choice_of(const struct problem *p, size_t item, size_t pick)
{
    const hone_alternative *a = &p->items[item].alternatives[pick];
    const double nbytes = (double)a->nbytes;
    return p->by_cost ? (struct choice){a->cost, nbytes} : (struct choice){nbytes, a->cost};
}

/* The pick of least value + price * weight; of equals the lighter. */
static size_t pick_at(const struct problem *p, size_t item, double price)
{
    size_t best = 0;
    for (size_t j = 1; j < p->items[item].n; j++) {
        const struct choice a = choice_of(p, item, j), b = choice_of(p, item, best);
        const double x = a.value + price * a.weight, y = b.value + price * b.weight;
        if (x < y || (x == y && a.weight < b.weight))
            best = j;
    }
    return best;
}

/* The assignment under a price: its value and weight, and what the best cannot go below. */
static void relax(const struct problem *p, double price, double *weight, double *value)
{
    *weight = *value = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct choice c = choice_of(p, i, pick_at(p, i, price));
        *weight += c.weight;
        *value += c.value;
    }
}

static void take_bound(struct problem *p, double price, double weight, double value)
{
    const double bound = value + price * (weight - p->limit);
    if (bound > p->bound) {
        p->bound = bound;
        p->price = price;
    }
}

/* Raises the price until the assignment is within the limit, then narrows it down. */
static double find_price(struct problem *p)
{
    double low = 0, high = 1e-30, weight, value;
    relax(p, 0, &weight, &value);
    take_bound(p, 0, weight, value);
    if (weight <= p->limit)
        return 0;
    for (;; high *= 16) {
        relax(p, high, &weight, &value);
        take_bound(p, high, weight, value);
        if (weight <= p->limit || high > 1e60)
            break;
        low = high;
    }
    for (int i = 0; i < 200; i++) {
        const double middle = low + (high - low) / 2;
        if (!(middle > low && middle < high))
            break;
        relax(p, middle, &weight, &value);
        take_bound(p, middle, weight, value);
        if (weight <= p->limit)
            high = middle;
        else
            low = middle;
    }
    return high;
}

static void lightest(struct problem *p)
{
    for (size_t i = 0; i < p->n; i++) {
        size_t best = 0;
        for (size_t j = 1; j < p->items[i].n; j++) {
            const struct choice a = choice_of(p, i, j), b = choice_of(p, i, best);
            if (a.weight < b.weight || (a.weight == b.weight && a.value < b.value))
                best = j;
        }
        p->picked[i] = best;
    }
}

static void total(const struct problem *p, double *weight, double *value)
{
    *weight = *value = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct choice c = choice_of(p, i, p->picked[i]);
        *weight += c.weight;
        *value += c.value;
    }
}

/* The best single change of one pick that stays within the limit, or false. */
static bool improve_once(struct problem *p, double weight)
{
    double gain = 0;
    size_t item = 0, pick = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct choice now = choice_of(p, i, p->picked[i]);
        for (size_t j = 0; j < p->items[i].n; j++) {
            const struct choice c = choice_of(p, i, j);
            if (weight - now.weight + c.weight <= p->limit && now.value - c.value > gain) {
                gain = now.value - c.value;
                item = i;
                pick = j;
            }
        }
    }
    if (gain > 0)
        p->picked[item] = pick;
    return gain > 0;
}

/* A good assignment to begin with: that of the price, and what still fits. */
static void start(struct problem *p)
{
    const double price = find_price(p);
    double weight, value;
    for (size_t i = 0; i < p->n; i++)
        p->picked[i] = pick_at(p, i, price);
    total(p, &weight, &value);
    if (weight > p->limit)
        lightest(p);
    for (size_t step = 0; step < 4 * p->n; step++) {
        total(p, &weight, &value);
        if (!improve_once(p, weight))
            break;
    }
    total(p, &weight, &p->best);
}

/* Smallest first; of equals the one of less value; then any fixed order. */
static int by_weight(const void *a, const void *b)
{
    const struct state *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight < y->weight ? -1 : 1;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return x->pick < y->pick ? -1 : x->pick > y->pick;
}

static bool promising(const struct problem *p, size_t next, const struct state *s)
{
    if (s->weight + p->rest_weight[next] > p->limit)
        return false;
    const double bound = s->value + p->rest_value[next] + p->price * (s->weight - p->limit);
    /* Sums in another order may differ in their last digits. */
    return bound <= p->best + 1e-9 * (p->best > 0 ? p->best : 0);
}

/* Thins sorted states out to those that nothing lighter undercuts, and to as many as are allowed. */
static size_t thin(struct problem *p, struct state *states, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || states[i].value < states[kept - 1].value)
            states[kept++] = states[i];
    if (kept <= MAX_STATES)
        return kept;
    p->exact = false;
    for (size_t i = 0; i < MAX_STATES; i++)
        states[i] = states[i * (kept - 1) / (MAX_STATES - 1)];
    return MAX_STATES;
}

static hone_status extend(struct problem *p, size_t item, hone_error *err)
{
    const struct layer *from = &p->layers[item];
    size_t n = 0;
    struct state *pool = hone_grow(p->pool, &p->cap_pool, from->n * p->items[item].n + 1, sizeof *pool);
    if (!pool)
        return hone_fail_nomem(err, from->n * p->items[item].n * sizeof *pool);
    p->pool = pool;
    for (size_t s = 0; s < from->n; s++)
        for (size_t j = 0; j < p->items[item].n; j++) {
            const struct choice c = choice_of(p, item, j);
            pool[n] = (struct state){from->states[s].weight + c.weight, from->states[s].value + c.value, (uint32_t)s,
                                     (uint32_t)j};
            n += promising(p, item + 1, &pool[n]);
        }
    qsort(pool, n, sizeof *pool, by_weight);
    n = thin(p, pool, n);
    struct layer *to = &p->layers[item + 1];
    to->states = hone_alloc(n, sizeof *to->states);
    if (!to->states)
        return hone_fail_nomem(err, n * sizeof *to->states);
    memcpy(to->states, pool, n * sizeof *pool);
    to->n = n;
    return HONE_OK;
}

static void bound_rests(struct problem *p)
{
    p->rest_value[p->n] = p->rest_weight[p->n] = 0;
    for (size_t i = p->n; i-- > 0;) {
        const struct choice c = choice_of(p, i, pick_at(p, i, p->price));
        double weight = c.weight;
        for (size_t j = 0; j < p->items[i].n; j++) {
            const double w = choice_of(p, i, j).weight;
            weight = w < weight ? w : weight;
        }
        p->rest_value[i] = p->rest_value[i + 1] + c.value + p->price * c.weight;
        p->rest_weight[i] = p->rest_weight[i + 1] + weight;
    }
}

/* The last of the last layer has the least value: nothing lighter undercuts what is kept. */
static void take_best(struct problem *p)
{
    const struct layer *last = &p->layers[p->n];
    if (last->n == 0 || !(last->states[last->n - 1].value < p->best))
        return;
    size_t s = last->n - 1;
    for (size_t i = p->n; i-- > 0;) {
        const struct state *state = &p->layers[i + 1].states[s];
        p->picked[i] = state->pick;
        s = state->parent;
    }
}

static hone_status search(struct problem *p, hone_error *err)
{
    start(p);
    bound_rests(p);
    p->layers[0].states = hone_calloc(1, sizeof(struct state));
    if (!p->layers[0].states)
        return hone_fail_nomem(err, sizeof(struct state));
    p->layers[0].n = 1;
    for (size_t i = 0; i < p->n; i++)
        HONE_TRY(extend(p, i, err));
    take_best(p);
    return HONE_OK;
}

static hone_status solve(struct problem *p, hone_allocation *out, hone_error *err)
{
    p->exact = true;
    p->bound = 0; /* weights and values are not negative */
    p->rest_value = hone_alloc(p->n + 1, sizeof *p->rest_value);
    p->rest_weight = hone_alloc(p->n + 1, sizeof *p->rest_weight);
    p->layers = hone_calloc(p->n + 1, sizeof *p->layers);
    hone_status status = HONE_OK;
    if (!p->rest_value || !p->rest_weight || !p->layers)
        status = hone_fail_nomem(err, (p->n + 1) * sizeof *p->layers);
    if (status == HONE_OK)
        status = search(p, err);
    for (size_t i = 0; p->layers && i <= p->n; i++)
        hone_release(p->layers[i].states);
    hone_release(p->layers);
    hone_release(p->pool);
    hone_release(p->rest_weight);
    hone_release(p->rest_value);
    if (status != HONE_OK)
        return status;
    *out = (hone_allocation){.exact = p->exact};
    for (size_t i = 0; i < p->n; i++) {
        out->nbytes += p->items[i].alternatives[p->picked[i]].nbytes;
        out->cost += p->items[i].alternatives[p->picked[i]].cost;
    }
    const double reached = p->by_cost ? (double)out->nbytes : out->cost;
    out->bound = p->exact || p->bound > reached ? reached : p->bound;
    return HONE_OK;
}

hone_status hone_allocate(const hone_allocation_item *items, size_t n, uint64_t nbytes, size_t *picked,
                          hone_allocation *out, hone_error *err)
{
    *out = (hone_allocation){0};
    uint64_t least = 0;
    struct problem p = {.items = items, .n = n, .limit = (double)nbytes, .picked = picked};
    lightest(&p);
    for (size_t i = 0; i < n; i++)
        least += items[i].alternatives[picked[i]].nbytes;
    if (least > nbytes)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "the smallest choice takes %llu bytes of %llu",
                         (unsigned long long)least, (unsigned long long)nbytes);
    return solve(&p, out, err);
}

hone_status hone_allocate_smallest(const hone_allocation_item *items, size_t n, double cost, size_t *picked,
                                   hone_allocation *out, hone_error *err)
{
    *out = (hone_allocation){0};
    struct problem p = {.items = items, .n = n, .by_cost = true, .limit = cost, .picked = picked};
    double least, nbytes;
    lightest(&p);
    total(&p, &least, &nbytes);
    if (!(least <= cost))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "the best choice costs %g, above %g", least, cost);
    return solve(&p, out, err);
}
