/* SPDX-License-Identifier: MIT */
#include "quantize/sequential.h"

#include <string.h>

#include <cblas.h>
#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "quantize/asymmetric.h"
#include "quantize/cost.h"
#include "quantize/layer_pass.h"
#include "verify/team.h"

/*
 * How much of the way from W to W* is gone. On lit-llama under q2_k, calibrated on 24,600 tokens, KLD was 0.0215 with
 * none, 0.0084 with half, 0.0076 with three quarters, 0.0077 with all of it (2,540 positions of other text, standard
 * error 0.0003). Less text wants less of it: under q4_k_m on 12,300 tokens half left 0.00060 and all 0.00064.
 */
static const float STRENGTH = 0.75f;

struct hone_sequential {
    hone_layer_pass pass, original; /* behind what is coded, and behind the model as it was */
    size_t *order;                  /* (n inputs) where in pass.set input i is */
    /* The input that is being summed up, ... */
    size_t seen;              /* ... where in the sets it is, */
    float *x;                 /* (n_ctx, ncols) a chunk of it in the original */
    size_t n_original;        /* rows of x that are there, ... */
    size_t n_coded;           /* ... and that have met theirs */
    float *difference;        /* (ncols, ncols) sum of (x - x') x'T */
    uint64_t n_done, n_to_do; /* chunks through a stage */
    hone_text_marks texts;
};

/* The set has the embedding's input last; a pass comes to it first. */
static hone_status order_inputs(hone_sequential *s, hone_error *err)
{
    const hone_input_set *set = &s->pass.set;
    s->order = hone_alloc(set->n, sizeof *s->order);
    if (!s->order)
        return hone_fail_nomem(err, set->n * sizeof *s->order);
    size_t n = 0;
    for (size_t stage = 0; n < set->n; stage++)
        for (size_t i = 0; i < set->n; i++)
            if (set->inputs[i].stage == stage)
                s->order[n++] = i;
    return HONE_OK;
}

hone_status hone_sequential_open(const hone_context *ctx, const hone_checkpoint *ckpt,
                                 const hone_calibration_text *text, hone_sequential **out, hone_error *err)
{
    *out = NULL;
    hone_sequential *s = hone_calloc(1, sizeof *s);
    if (!s)
        return hone_fail_nomem(err, sizeof *s);
    hone_status status = hone_layer_pass_open(ctx, ckpt, text, HONE_ENDS_OUTPUT_AND_EMBEDDING, &s->pass, err);
    if (status == HONE_OK)
        status = hone_layer_pass_open(ctx, ckpt, text, HONE_ENDS_OUTPUT_AND_EMBEDDING, &s->original, err);
    if (status == HONE_OK)
        status = order_inputs(s, err);
    if (status == HONE_OK)
        status = hone_text_marks_add(&s->texts, text->text, hone_chunks_covered(&s->pass.chunks, text->nbytes), 1, err);
    if (status != HONE_OK) {
        hone_sequential_close(s);
        return status;
    }
    *out = s;
    return HONE_OK;
}

void hone_sequential_close(hone_sequential *s)
{
    if (!s)
        return;
    hone_layer_pass_close(&s->pass);
    hone_layer_pass_close(&s->original);
    hone_text_marks_deinit(&s->texts);
    hone_release(s->order);
    hone_release(s);
}

const hone_text_marks *hone_sequential_texts(const hone_sequential *s)
{
    return &s->texts;
}

size_t hone_sequential_n_inputs(const hone_sequential *s)
{
    return s->pass.set.n;
}

size_t hone_sequential_find(const hone_sequential *s, const char *gguf_name)
{
    for (size_t i = 0; i < s->pass.set.n; i++) {
        const hone_input_stats *in = &s->pass.set.inputs[s->order[i]];
        for (size_t w = 0; w < in->n_weights; w++)
            if (strcmp(in->names[w], gguf_name) == 0)
                return i;
    }
    return s->pass.set.n;
}

size_t hone_sequential_ncols(const hone_sequential *s, size_t input)
{
    return s->pass.set.inputs[s->order[input]].ncols;
}

hone_sequential_text hone_sequential_describe(const hone_sequential *s)
{
    const hone_chunks *c = &s->pass.chunks;
    return (hone_sequential_text){c->n_chunks, c->n_ctx, XXH3_64bits(c->ids, c->n_chunks * c->n_ctx * sizeof *c->ids)};
}

hone_sequential_memory hone_sequential_memory_needed(const hone_sequential *s)
{
    const hone_layer_pass *p = &s->pass;
    hone_sequential_memory m = {.weights_nbytes = 2 * hone_layer_pass_stage_nbytes(p),
                                .pass_nbytes = 2 * hone_layer_pass_run_nbytes(p),
                                .streams_nbytes = 2 * hone_layer_pass_streams_nbytes(p)};
    for (size_t i = 0; i < p->set.n; i++) {
        const uint64_t ncols = p->set.inputs[i].ncols;
        const uint64_t nbytes = (uint64_t)(hone_gram_nfloats((size_t)ncols) + p->chunks.n_ctx * ncols) * sizeof(float) +
                                hone_feedback_aim_nbytes((size_t)ncols);
        m.moments_nbytes = nbytes > m.moments_nbytes ? nbytes : m.moments_nbytes;
    }
    return m;
}

double hone_sequential_seconds(const hone_sequential *s)
{
    const hone_layer_pass *p = &s->pass;
    /* Both models go through each layer once to leave it, and nearly as often again for its inputs, which take less the
     * earlier they are. */
    double work = 2 * 2.3 * hone_pass_work(p);
    for (size_t i = 0; i < p->set.n; i++) {
        const double ncols = (double)p->set.inputs[i].ncols;
        work += 3 * hone_moments_work(p, i); /* half a square of moments, a whole one of differences */
        work += 10 * ncols * ncols * ncols;  /* factors in f64, then solutions */
    }
    return work / hone_product_rate(p->ctx);
}

static void count_chunks(hone_sequential *s, size_t n)
{
    s->n_done += n;
    hone_context_progress(s->pass.ctx, "calibrate", s->n_done, s->n_to_do);
}

hone_status hone_sequential_begin(hone_sequential *s, uint64_t max_nbytes, const char *beside, hone_error *err)
{
    /* Each input takes a pass of its stage, and each stage one of either model to leave it. */
    s->pass.phase = s->original.phase = NULL;
    s->n_done = 0;
    s->n_to_do = (s->pass.set.n + 2 * (s->pass.model->n_layers + 1)) * (uint64_t)s->pass.chunks.n_chunks;
    HONE_TRY(hone_layer_pass_begin(&s->pass, max_nbytes / 2, beside, err));
    return hone_layer_pass_begin(&s->original, max_nbytes / 2, beside, err);
}

/* On to a stage: everything before it as it is now. */
static hone_status advance(hone_sequential *s, hone_layer_pass *p, size_t stage, hone_error *err)
{
    p->run.observer = NULL;
    while (p->stage < stage) {
        HONE_TRY(hone_layer_pass_see(p, true, err));
        count_chunks(s, p->chunks.n_chunks);
    }
    return HONE_OK;
}

static void keep_original(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n)
{
    (void)n_weights;
    hone_sequential *s = user;
    const hone_input_stats *in = &s->original.set.inputs[s->seen];
    if (weights[0] != in->weights[0])
        return;
    memcpy(s->x + s->n_original * in->ncols, x, n * in->ncols * sizeof *x);
    s->n_original += n;
}

/* A tile of both inputs: x becomes x - x'. */
struct tile {
    float *x;
    const float *coded;
    float *difference;
    size_t n, ncols;
};

static hone_status add_panel(void *user, size_t p, int thread, hone_error *err)
{
    (void)thread;
    (void)err;
    const struct tile *t = user;
    const size_t first = p * HONE_GRAM_PANEL, left = t->ncols - first;
    const size_t nrows = left < HONE_GRAM_PANEL ? left : HONE_GRAM_PANEL;
    const int d = (int)t->ncols;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)nrows, d, (int)t->n, 1.0f, t->x + first, d, t->coded, d,
                1.0f, t->difference + first * t->ncols, d);
    return HONE_OK;
}

static void see_coded(void *user, const hone_weight *const *weights, size_t n_weights, const float *x, size_t n)
{
    hone_sequential *s = user;
    const hone_input_stats *in = &s->pass.set.inputs[s->seen];
    if (weights[0] != in->weights[0])
        return;
    hone_input_see(&s->pass.set, weights, n_weights, x, n);
    struct tile t = {s->x + s->n_coded * in->ncols, x, s->difference, n, in->ncols};
    for (size_t i = 0; i < n * in->ncols; i++)
        t.x[i] -= x[i];
    s->n_coded += n;
    const size_t n_panels = (in->ncols + HONE_GRAM_PANEL - 1) / HONE_GRAM_PANEL;
    const double cost = 0.03 * (double)n * (double)in->ncols * (double)in->ncols;
    (void)hone_parallel_for(n_panels, hone_team(s->pass.ctx, n_panels, cost), add_panel, &t, NULL);
}

/* Each chunk through the original and then through what is coded. */
static hone_status see_both(hone_sequential *s, hone_error *err)
{
    const hone_observer original = {keep_original, s, NULL, s->original.set.inputs[s->seen].weights[0]};
    const hone_observer coded = {see_coded, s, NULL, s->pass.set.inputs[s->seen].weights[0]};
    s->original.run.observer = &original;
    s->pass.run.observer = &coded;
    hone_status status = hone_layer_pass_hold(&s->original, err);
    if (status == HONE_OK)
        status = hone_layer_pass_hold(&s->pass, err);
    for (size_t i = 0; i < s->pass.chunks.n_chunks && status == HONE_OK; i++) {
        s->n_original = s->n_coded = 0;
        status = hone_layer_pass_step(&s->original, i, err);
        if (status == HONE_OK)
            status = hone_layer_pass_step(&s->pass, i, err);
        count_chunks(s, 1);
    }
    s->original.run.observer = s->pass.run.observer = NULL;
    return status;
}

static hone_status sum_up(hone_sequential *s, hone_error *err)
{
    hone_input_stats *in = &s->pass.set.inputs[s->seen];
    HONE_TRY(advance(s, &s->original, in->stage, err));
    HONE_TRY(advance(s, &s->pass, in->stage, err));
    HONE_TRY(hone_input_collect(in, true, err));
    if (in->stage == 0)
        return hone_layer_pass_see_embedding(&s->pass, err);
    s->x = hone_alloc(s->pass.chunks.n_ctx, in->ncols * sizeof *s->x);
    s->difference = hone_calloc(in->ncols, in->ncols * sizeof *s->difference);
    if (!s->x || !s->difference)
        return hone_fail_nomem(err, (s->pass.chunks.n_ctx + in->ncols) * in->ncols * sizeof *s->x);
    return see_both(s, err);
}

static hone_status read_row(void *user, size_t i, float *dst, hone_error *err)
{
    (void)err;
    const hone_input_stats *in = user;
    const float *row = hone_gram_row(in->gram, in->ncols, i);
    const float n_tokens = (float)in->n_tokens;
    for (size_t j = 0; j < in->ncols - i; j++)
        dst[j] = row[j] / n_tokens;
    return HONE_OK;
}

static hone_status make_feedback(hone_sequential *s, bool ordered, hone_feedback *out, hone_error *err)
{
    hone_input_stats *in = &s->pass.set.inputs[s->seen];
    HONE_TRY(
        (ordered ? hone_feedback_init_ordered : hone_feedback_init)(s->pass.ctx, in->ncols, 0, read_row, in, out, err));
    hone_input_release(in);
    float *difference = s->difference;
    s->difference = NULL;
    if (!difference)
        return HONE_OK;
    for (size_t i = 0; i < in->ncols * in->ncols; i++)
        difference[i] /= (float)in->n_tokens;
    return hone_feedback_aim(s->pass.ctx, out, difference, STRENGTH, err);
}

hone_status hone_sequential_feedback(hone_sequential *s, size_t input, bool ordered, hone_feedback *out,
                                     hone_error *err)
{
    *out = (hone_feedback){0};
    s->seen = s->order[input];
    hone_status status = sum_up(s, err);
    hone_release(s->x);
    s->x = NULL;
    if (status == HONE_OK)
        status = make_feedback(s, ordered, out, err);
    hone_release(s->difference);
    s->difference = NULL;
    hone_input_release(&s->pass.set.inputs[s->seen]);
    return hone_fail_for(err, status, s->pass.set.inputs[s->seen].names[0]);
}

/* Where the model uses a matrix next: a tied one may be in two places, the earlier behind. */
static hone_weight *find(const hone_sequential *s, const char *name, size_t *stage)
{
    hone_weight *w;
    for (size_t i = 0; (w = hone_model_matrix(s->pass.model, i, stage)); i++)
        if (strcmp(w->name, name) == 0)
            return w;
    return NULL;
}

bool hone_sequential_holds(const hone_sequential *s, const char *name)
{
    return find(s, name, NULL) != NULL;
}

hone_status hone_sequential_put(hone_sequential *s, const char *name, const hone_coded_matrix *m, hone_error *err)
{
    size_t stage = 0;
    hone_weight *w = find(s, name, &stage);
    const hone_decode_fn decode = hone_decoder(m->dtype, s->pass.ctx->cpu);
    uint64_t row_nbytes;
    if (!w || w->nrows != m->nrows || w->ncols != m->ncols || !decode ||
        hone_dtype_row_nbytes(m->dtype, m->ncols, &row_nbytes)) {
        hone_release(m->data);
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, name, "no such matrix can be replaced");
    }
    if (stage < s->pass.stage) { /* it has done its part */
        hone_release(m->data);
        return HONE_OK;
    }
    hone_weight_drop(w);
    const hone_weight coded = {.name = w->name,
                               .dtype = m->dtype,
                               .nrows = m->nrows,
                               .ncols = m->ncols,
                               .row_nbytes = (size_t)row_nbytes,
                               .data = m->data,
                               .decode = decode,
                               .ckpt = w->ckpt,
                               .tensor = w->tensor};
    *w = coded;
    return HONE_OK;
}
