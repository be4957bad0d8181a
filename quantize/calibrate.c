/* SPDX-License-Identifier: MIT */
/* A calibration run: text through the model layer by layer, what each sees summed up, the sums into a file. */
#include "hone/calibrate.h"

#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "quantize/calibration_file.h"
#include "quantize/layer_pass.h"

struct calibration_run {
    const hone_context *ctx;
    const hone_calibrate_options *opts;
    hone_layer_pass pass;
    hone_calibration_output output;
};

/* The inputs [first, end) of one stage whose products fit the budget together; at least one. */
static hone_status round_end(const struct calibration_run *r, size_t first, size_t *end, hone_error *err)
{
    const hone_input_set *set = &r->pass.set;
    uint64_t nbytes = 0;
    for (*end = first; *end < set->n && set->inputs[*end].stage == set->inputs[first].stage; ++*end) {
        const hone_input_stats *in = &set->inputs[*end];
        const size_t nfloats = r->opts->hessian ? hone_gram_nfloats(in->ncols) : 1;
        const uint64_t more = nfloats ? (uint64_t)nfloats * sizeof(float) : UINT64_MAX;
        if (more > r->ctx->memory_nbytes)
            return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, in->names[0],
                             "the second moments of %zu columns take %" PRIu64 " bytes, the budget is %" PRIu64
                             " (--memory)",
                             in->ncols, more, r->ctx->memory_nbytes);
        if (more > r->ctx->memory_nbytes - nbytes)
            return HONE_OK;
        nbytes += more;
    }
    return HONE_OK;
}

/* The first input of a stage, or where it would be. */
static size_t first_input(const hone_input_set *set, size_t stage)
{
    size_t i = 0;
    while (i < set->n && set->inputs[i].stage != stage)
        i++;
    return i;
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

/* All chunks through a stage, several times where not all of its products fit the budget; and on to the next. */
static hone_status run_stage(struct calibration_run *r, size_t stage, hone_error *err)
{
    const hone_input_set *set = &r->pass.set;
    size_t first = first_input(set, stage), end = first;
    do {
        if (first < set->n)
            HONE_TRY(round_end(r, first, &end, err));
        const bool last = end == set->n || set->inputs[end].stage != stage;
        HONE_TRY(run_round(r, first, end, last, err));
        first = end;
    } while (end < set->n && set->inputs[end].stage == stage);
    return HONE_OK;
}

static hone_status count_rounds(const struct calibration_run *r, size_t *n_rounds, hone_error *err)
{
    *n_rounds = 1; /* that of the embedding, which sums nothing of the text */
    for (size_t first = 0; first < r->pass.set.n; ++*n_rounds)
        HONE_TRY(round_end(r, first, &first, err));
    return HONE_OK;
}

static hone_status collect(struct calibration_run *r, const char *path, hone_error *err)
{
    hone_layer_pass *p = &r->pass;
    const size_t n_layers = p->model->n_layers, embedding = first_input(&p->set, 0);
    size_t n_rounds;
    HONE_TRY(count_rounds(r, &n_rounds, err));
    p->phase = "calibrate";
    p->n_to_do = n_rounds * (uint64_t)p->chunks.n_chunks;
    HONE_TRY(hone_layer_pass_begin(p, r->ctx->memory_nbytes, path, err));
    if (embedding < p->set.n)
        HONE_TRY(run_round(r, embedding, embedding + 1, true, err));
    HONE_TRY(hone_layer_pass_see(p, true, err));
    for (size_t stage = 1; stage <= n_layers; stage++)
        HONE_TRY(run_stage(r, stage, err));
    return first_input(&p->set, n_layers + 1) < p->set.n ? run_stage(r, n_layers + 1, err) : HONE_OK;
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
            const hone_calibration_weight weight = {in->names[w], in->ncols, in->n_tokens, r->opts->hessian};
            HONE_TRY(hone_calibration_add(out, weight, err));
        }
    }
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        char name[HONE_ROLE_NAME_CAP];
        if (t->n_dims < 2 || !hone_role_gguf_name(set->family, set->naming, t->name, name) || observed(set, name))
            continue;
        HONE_TRY(hone_calibration_add(out, (hone_calibration_weight){name, t->shape[t->n_dims - 1], 0, false}, err));
    }
    return HONE_OK;
}

static hone_status calibrate(struct calibration_run *r, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                             const char *path, hone_calibration *report, hone_error *err)
{
    const hone_calibrate_options *opts = r->opts;
    const hone_calibration_text read = {text, nbytes, opts->n_ctx, opts->n_chunks};
    const hone_layer_ends ends = opts->hessian  ? HONE_ENDS_OUTPUT_AND_EMBEDDING
                                 : opts->output ? HONE_ENDS_OUTPUT
                                                : HONE_ENDS_NONE;
    HONE_TRY(hone_layer_pass_open(r->ctx, ckpt, &read, ends, &r->pass, err));
    const hone_calibration_origin origin = {.datasets = opts->datasets,
                                            .n_datasets = opts->n_datasets,
                                            .n_chunks = r->pass.chunks.n_chunks,
                                            .n_ctx = r->pass.chunks.n_ctx};
    HONE_TRY(hone_calibration_create(path, &r->pass.set, &origin, opts->hessian, opts->overwrite, &r->output, err));
    HONE_TRY(collect(r, path, err));
    if (report)
        HONE_TRY(report_coverage(r, ckpt, report, err));
    HONE_TRY(hone_writer_sync(&r->output.writer, err));
    return hone_writer_commit(&r->output.writer, err);
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
    struct calibration_run r = {.ctx = ctx, .opts = opts, .pass.streams = HONE_NO_SPILL, .output = {.writer.fd = -1}};
    hone_status status = hone_writer_check_target(path, opts->overwrite, err);
    if (status == HONE_OK)
        status = calibrate(&r, ckpt, text, nbytes, path, report, err);
    hone_calibration_output_deinit(&r.output);
    hone_layer_pass_close(&r.pass);
    if (status == HONE_OK && out) {
        *out = report;
        return HONE_OK;
    }
    hone_calibration_free(report);
    return status;
}
