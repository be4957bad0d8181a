/* SPDX-License-Identifier: MIT */
#include "convert/budget_probe.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Layers that are run to the end: two thirds, as far as that is from MIN to MAX. */
enum { MIN_ANCHORS = 2, MAX_ANCHORS = 4 };

const char *hone_probe_kind(const char *name)
{
    if (strncmp(name, "blk.", 4) != 0)
        return name;
    const char *rest = name + 4 + strspn(name + 4, "0123456789");
    return *rest == '.' ? rest + 1 : name;
}

static size_t count_anchors(size_t n_layers)
{
    const size_t most = n_layers * 2 / 3;
    return most < MIN_ANCHORS ? MIN_ANCHORS : most > MAX_ANCHORS ? MAX_ANCHORS : most;
}

/* Whether a stage is one of them: the first layer, the last, and some at equal distances between. */
static bool is_anchor(size_t stage, size_t n_layers)
{
    const size_t gaps = count_anchors(n_layers) - 1;
    if (stage == 0 || stage > n_layers || n_layers <= gaps + 1)
        return true;
    for (size_t i = 0; i <= gaps; i++)
        if (stage == 1 + (i * (n_layers - 1) + gaps / 2) / gaps)
            return true;
    return false;
}

static bool is_in_layer(const hone_probe *p, size_t n_layers)
{
    return p->stage > 0 && p->stage <= n_layers;
}

void hone_probes_choose(hone_probe *probes, size_t n, size_t n_layers)
{
    for (size_t i = 0; i < n; i++)
        probes[i].whole = is_anchor(probes[i].stage, n_layers);
    for (size_t i = 0; i < n; i++) {
        bool has_like = false;
        for (size_t j = 0; j < n && !has_like; j++)
            has_like = is_in_layer(&probes[j], n_layers) && is_anchor(probes[j].stage, n_layers) &&
                       strcmp(probes[i].kind, probes[j].kind) == 0;
        probes[i].whole = probes[i].whole || !has_like;
    }
}

static bool has_rate(const hone_probe *p)
{
    return p->whole && p->kld > 0 && p->shift > 0;
}

static double log_rate(const hone_probe *p)
{
    return log(p->kld / p->shift);
}

/* What the rates of a stage have in common. */
static double of_stage(const hone_probe *probes, size_t n, size_t stage)
{
    double sum = 0;
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (has_rate(&probes[i]) && probes[i].stage == stage) {
            sum += log_rate(&probes[i]);
            found++;
        }
    return found ? sum / (double)found : 0;
}

/* By how much the rates of a kind differ from what the stages have in common. false: no rate is known. */
static bool of_kind(const hone_probe *probes, size_t n, const char *kind, double *out)
{
    double sum = 0;
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (has_rate(&probes[i]) && strcmp(probes[i].kind, kind) == 0) {
            sum += log_rate(&probes[i]) - of_stage(probes, n, probes[i].stage);
            found++;
        }
    *out = found ? sum / (double)found : 0;
    return found > 0;
}

/* The same between stages: in proportion to the distance from those before and behind. */
static double between_stages(const hone_probe *probes, size_t n, size_t stage)
{
    size_t below = 0, above = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        if (has_rate(&probes[i]) && probes[i].stage <= stage && probes[i].stage > below)
            below = probes[i].stage;
        if (has_rate(&probes[i]) && probes[i].stage >= stage && probes[i].stage < above)
            above = probes[i].stage;
    }
    if (below == 0 || above == SIZE_MAX || below == above)
        return of_stage(probes, n, below == 0 ? above : below);
    const double way = (double)(stage - below) / (double)(above - below);
    return (1 - way) * of_stage(probes, n, below) + way * of_stage(probes, n, above);
}

void hone_probes_fill(hone_probe *probes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hone_probe *p = &probes[i];
        double own;
        if (p->whole)
            continue;
        p->kld = 0;
        if (of_kind(probes, n, p->kind, &own))
            p->kld = p->shift * exp(own + between_stages(probes, n, p->stage));
    }
}
