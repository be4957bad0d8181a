/* SPDX-License-Identifier: MIT */
/* A calibration run: text through the model layer by layer, what each sees summed up, the sums into a file. */
#include "hone/calibrate.h"

#include <inttypes.h>
#include <string.h>

#include <xxhash.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "formats/sources.h"
#include "quantize/calibration_file.h"
#include "quantize/cost.h"
#include "quantize/layer_pass.h"

struct calibration_run {
    const hone_context *ctx;
    const hone_calibrate_options *opts;
    hone_layer_pass pass;
    hone_calibration_output output;
    bool *done; /* (inputs) an earlier run wrote them */
};

static uint64_t gram_nbytes(const struct calibration_run *r, size_t i)
{
    const size_t nfloats = r->opts->hessian ? hone_gram_nfloats(r->pass.set.inputs[i].ncols) : 0;
    return r->opts->hessian && nfloats == 0 ? UINT64_MAX : (uint64_t)nfloats * sizeof(float);
}

/* Moves [*first, *end), the inputs of the last round, to those of the next one of the stage: neighbours that are not
 * done, and whose products fit the budget together. Empty when there is none. */
static void next_round(const struct calibration_run *r, size_t stage, size_t *first, size_t *end)
{
    const hone_input_set *set = &r->pass.set;
    for (*first = *end; *first < set->n; ++*first)
        if (set->inputs[*first].stage == stage && !r->done[*first])
            break;
    const uint64_t max_nbytes = r->ctx->memory_nbytes / 2; /* the streams have the other half */
    uint64_t nbytes = 0;
    for (*end = *first; *end < set->n && set->inputs[*end].stage == stage && !r->done[*end]; ++*end) {
        const uint64_t more = gram_nbytes(r, *end);
        if (*end > *first && (nbytes > max_nbytes || more > max_nbytes - nbytes))
            break;
        nbytes += more;
    }
}

/* Streams may take half of the budget, sums the other half, or more if one input needs it. */
static uint64_t streams_max_nbytes(const struct calibration_run *r)
{
    return r->ctx->memory_nbytes / 2;
}

static hone_status check_budget(const struct calibration_run *r, hone_error *err)
{
    for (size_t i = 0; i < r->pass.set.n; i++)
        if (gram_nbytes(r, i) > r->ctx->memory_nbytes)
            return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, r->pass.set.inputs[i].names[0],
                             "the second moments of %zu columns take %" PRIu64 " bytes, the budget is %" PRIu64
                             " (--memory)",
                             r->pass.set.inputs[i].ncols, gram_nbytes(r, i), r->ctx->memory_nbytes);
    return HONE_OK;
}

/* Sums of the inputs [first, end): those of the stage that is next, or of the embedding. */
static hone_status run_round(struct calibration_run *r, size_t first, size_t end, bool last, hone_error *err)
{
    hone_input_set *set = &r->pass.set;
    hone_status status = HONE_OK;
    for (size_t i = first; i < end && status == HONE_OK; i++)
        status = hone_input_collect(&set->inputs[i], r->opts->hessian, err);
    if (status == HONE_OK)
        status = first < end && set->inputs[first].stage == 0 ? hone_layer_pass_see_embedding(&r->pass, err)
                                                              : hone_layer_pass_see(&r->pass, last, err);
    for (size_t i = first; i < end; i++) {
        if (status == HONE_OK)
            status = hone_calibration_put(&r->output, set, i, err);
        hone_input_release(&set->inputs[i]);
    }
    return status;
}

/* All chunks through a stage, several times where not all of its products fit the budget, and on to the next. */
static hone_status run_stage(struct calibration_run *r, size_t stage, hone_error *err)
{
    size_t first, end = 0;
    next_round(r, stage, &first, &end);
    for (bool last = false; !last;) {
        size_t then_first, then_end = end;
        next_round(r, stage, &then_first, &then_end);
        last = then_first == then_end;
        HONE_TRY(run_round(r, first, end, last, err));
        first = then_first;
        end = then_end;
    }
    return HONE_OK;
}

static size_t count_rounds(const struct calibration_run *r, size_t stage)
{
    size_t n = 0;
    for (size_t first, end = 0; next_round(r, stage, &first, &end), first < end;)
        n++;
    return n;
}

/* What an earlier run left. */
static hone_status find_done(struct calibration_run *r, hone_error *err)
{
    size_t n_done = 0;
    r->done = hone_calloc(r->pass.set.n, sizeof *r->done);
    if (!r->done)
        return hone_fail_nomem(err, r->pass.set.n);
    for (size_t i = 0; i < r->pass.set.n; i++) {
        HONE_TRY(hone_calibration_find(&r->output, &r->pass.set, i, &r->done[i], err));
        n_done += r->done[i];
    }
    if (n_done > 0)
        hone_context_note(r->ctx, "resuming: %zu of %zu inputs were done", n_done, r->pass.set.n);
    return HONE_OK;
}

/* How often the chunks go through a stage: at least once, but for the output's if that has nothing to show. */
static size_t count_passes(const struct calibration_run *r, size_t stage)
{
    const size_t n = count_rounds(r, stage);
    return n == 0 && stage <= r->pass.model->n_layers ? 1 : n;
}

static hone_status collect(struct calibration_run *r, const char *path, hone_error *err)
{
    hone_layer_pass *p = &r->pass;
    const size_t n_stages = p->model->n_layers + 2;
    p->phase = "calibrate";
    p->n_to_do = p->chunks.n_chunks; /* the streams begin */
    for (size_t stage = 1; stage < n_stages; stage++)
        p->n_to_do += count_passes(r, stage) * (uint64_t)p->chunks.n_chunks;
    HONE_TRY(hone_layer_pass_begin(p, streams_max_nbytes(r), path, err));
    size_t first, end = 0;
    next_round(r, 0, &first, &end);
    if (first < end)
        HONE_TRY(run_round(r, first, end, true, err));
    HONE_TRY(hone_layer_pass_see(p, true, err));
    for (size_t stage = 1; stage < n_stages; stage++)
        if (count_passes(r, stage) > 0)
            HONE_TRY(run_stage(r, stage, err));
    return HONE_OK;
}

/* What must be equal for two runs to be the same work, beside the header: the model's files and the tokens. */
static uint64_t identity(const struct calibration_run *r, const hone_checkpoint *ckpt)
{
    const hone_chunks *c = &r->pass.chunks;
    uint64_t id = XXH3_64bits(c->ids, c->n_chunks * c->n_ctx * sizeof *c->ids);
    for (size_t i = 0; i < ckpt->n_files; i++)
        id = hone_file_identity(&ckpt->files[i], id);
    return id;
}

static bool observed(const hone_input_set *set, const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        for (size_t w = 0; w < set->inputs[i].n_weights; w++)
            if (strcmp(set->inputs[i].names[w], name) == 0)
                return true;
    return false;
}

static hone_status report_coverage(const struct calibration_run *r, const hone_checkpoint *ckpt, hone_calibration *out,
                                   hone_error *err)
{
    const hone_input_set *set = &r->pass.set;
    out->n_chunks = r->pass.chunks.n_chunks;
    out->n_tokens = (uint64_t)r->pass.chunks.n_chunks * r->pass.chunks.n_ctx;
    for (size_t i = 0; i < set->n; i++) {
        const hone_input_stats *in = &set->inputs[i];
        for (size_t w = 0; w < in->n_weights; w++) {
            const hone_calibration_weight weight = {in->names[w],     in->ncols,  in->n_tokens,
                                                    r->opts->hessian, in->expert, in->n_experts};
            HONE_TRY(hone_calibration_add(out, weight, err));
        }
    }
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        char name[HONE_ROLE_NAME_CAP];
        if (t->n_dims < 2 || !hone_role_gguf_name(set->family, set->naming, t->name, name) || observed(set, name))
            continue;
        HONE_TRY(
            hone_calibration_add(out, (hone_calibration_weight){.name = name, .ncols = t->shape[t->n_dims - 1]}, err));
    }
    return HONE_OK;
}

static hone_status open_pass(struct calibration_run *r, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                             hone_error *err)
{
    const hone_calibrate_options *opts = r->opts;
    const hone_calibration_text read = {text, nbytes, opts->n_ctx, opts->n_chunks};
    const hone_layer_ends ends = opts->hessian  ? HONE_ENDS_OUTPUT_AND_EMBEDDING
                                 : opts->output ? HONE_ENDS_OUTPUT
                                                : HONE_ENDS_NONE;
    HONE_TRY(hone_layer_pass_open(r->ctx, ckpt, &read, ends, &r->pass, err));
    return check_budget(r, err);
}

/* The most that a round sums up, and what all of them leave. */
static void count_moments(struct calibration_run *r, hone_calibrate_cost *out)
{
    const hone_input_set *set = &r->pass.set;
    for (size_t stage = 0; stage <= r->pass.model->n_layers + 1; stage++)
        for (size_t first, end = 0; next_round(r, stage, &first, &end), first < end;) {
            uint64_t nbytes = 0;
            for (size_t i = first; i < end; i++)
                nbytes += gram_nbytes(r, i);
            out->moments_nbytes = nbytes > out->moments_nbytes ? nbytes : out->moments_nbytes;
        }
    for (size_t i = 0; i < set->n; i++) {
        const uint64_t d = set->inputs[i].ncols;
        out->output_nbytes += set->inputs[i].n_weights * (d * sizeof(float) + 32);
        out->output_nbytes += r->opts->hessian ? d * (d + 1) / 2 * sizeof(float) : 0;
    }
}

static double estimate_seconds(const struct calibration_run *r)
{
    double work = 0;
    for (size_t stage = 1; stage <= r->pass.model->n_layers; stage++)
        work += (double)count_passes(r, stage) / (double)r->pass.model->n_layers * hone_pass_work(&r->pass);
    for (size_t i = 0; i < r->pass.set.n && r->opts->hessian; i++)
        work += hone_moments_work(&r->pass, i);
    return work / hone_product_rate(r->ctx);
}

static hone_status plan(struct calibration_run *r, hone_calibrate_cost *out, hone_error *err)
{
    const hone_layer_pass *p = &r->pass;
    r->done = hone_calloc(p->set.n, sizeof *r->done);
    if (!r->done)
        return hone_fail_nomem(err, p->set.n);
    *out = (hone_calibrate_cost){.n_tokens = (uint64_t)p->chunks.n_chunks * p->chunks.n_ctx,
                                 .n_chunks = p->chunks.n_chunks,
                                 .weights_nbytes = hone_layer_pass_stage_nbytes(p) + hone_layer_pass_run_nbytes(p),
                                 .streams_nbytes = hone_layer_pass_streams_nbytes(p),
                                 .seconds = estimate_seconds(r)};
    count_moments(r, out);
    out->streams_spilled = out->streams_nbytes > streams_max_nbytes(r);
    out->memory_nbytes = out->weights_nbytes + out->moments_nbytes + (out->streams_spilled ? 0 : out->streams_nbytes);
    return HONE_OK;
}

hone_status hone_calibrate_plan(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                                const hone_calibrate_options *opts, hone_calibrate_cost *out, hone_error *err)
{
    *out = (hone_calibrate_cost){0};
    struct calibration_run r = {
        .ctx = ctx, .opts = opts, .pass.streams = HONE_NO_SPILL, .output = HONE_NO_CALIBRATION_OUTPUT};
    hone_status status = open_pass(&r, ckpt, text, nbytes, err);
    if (status == HONE_OK)
        status = plan(&r, out, err);
    hone_layer_pass_close(&r.pass);
    hone_release(r.done);
    return status;
}

static hone_status calibrate(struct calibration_run *r, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                             const char *path, hone_calibration *report, hone_error *err)
{
    const hone_calibrate_options *opts = r->opts;
    HONE_TRY(open_pass(r, ckpt, text, nbytes, err));
    const hone_calibration_origin origin = {.datasets = opts->datasets,
                                            .n_datasets = opts->n_datasets,
                                            .n_chunks = r->pass.chunks.n_chunks,
                                            .n_ctx = r->pass.chunks.n_ctx};
    const hone_writer_options how = {.overwrite = opts->overwrite, .restart = opts->restart};
    HONE_TRY(
        hone_calibration_create(path, &r->pass.set, &origin, identity(r, ckpt), opts->hessian, how, &r->output, err));
    HONE_TRY(find_done(r, err));
    HONE_TRY(collect(r, path, err));
    if (report)
        HONE_TRY(report_coverage(r, ckpt, report, err));
    return hone_calibration_commit(&r->output, err);
}

hone_status hone_calibrate(const hone_context *ctx, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                           const hone_calibrate_options *opts, const char *path, hone_calibration **out,
                           hone_error *err)
{
    hone_calibration *report = NULL;
    if (out) {
        *out = NULL;
        report = hone_calloc(1, sizeof *report);
        if (!report)
            return hone_fail_nomem(err, sizeof *report);
    }
    struct calibration_run r = {
        .ctx = ctx, .opts = opts, .pass.streams = HONE_NO_SPILL, .output = HONE_NO_CALIBRATION_OUTPUT};
    hone_status status = hone_writer_check_target(path, opts->overwrite, err);
    if (status == HONE_OK)
        status = calibrate(&r, ckpt, text, nbytes, path, report, err);
    /* Work is kept when the machine failed us, not when the input did: that will fail again. */
    const bool keep = status == HONE_ERROR_IO || status == HONE_ERROR_NOMEM || status == HONE_ERROR_ARG;
    hone_calibration_output_deinit(&r.output, keep);
    hone_release(r.done);
    hone_layer_pass_close(&r.pass);
    if (status == HONE_OK && out) {
        *out = report;
        return HONE_OK;
    }
    hone_calibration_free(report);
    return status;
}
