/* SPDX-License-Identifier: MIT */
/* A calibration run: text through the forward pass, what the layers see summed up, the sums into a file. */
#include "hone/calibrate.h"

#include <inttypes.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "hone/verify.h"
#include "quantize/calibration_file.h"
#include "verify/chunks.h"

struct calibration_run {
    const hone_context *ctx;
    const hone_model *model;
    const hone_calibrate_options *opts;
    hone_chunks chunks;
    hone_run run;
    hone_input_set set;
    hone_calibration_output output;
    uint64_t n_done, n_to_do; /* chunks, all rounds together */
};

static hone_status failure(const struct calibration_run *r, hone_error *err)
{
    if (r->set.status != HONE_OK && err)
        *err = r->set.error;
    return r->set.status;
}

/* The output matrix is not part of the pass: the last hidden states are what it is given. */
static hone_status see_chunk(struct calibration_run *r, const int32_t *tokens, size_t n, hone_error *err)
{
    HONE_TRY(hone_run_sequence(&r->run, tokens, n, err));
    const hone_weight *const output[] = {&r->model->output};
    if (r->opts->output || r->opts->hessian)
        hone_input_see(&r->set, output, 1, r->run.hidden, n);
    return failure(r, err);
}

/* Rows of a reader's weight times its norm, as they act on an embedding. */
static void turn_rows(const hone_embedding_reader *reader, size_t n, size_t ncols, float *rows)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < ncols; j++) {
            rows[i * ncols + j] *= reader->norm[j];
            sum += (double)rows[i * ncols + j];
        }
        for (size_t j = 0; j < ncols && reader->centred; j++)
            rows[i * ncols + j] -= (float)(sum / (double)ncols);
    }
}

/*
 * An embedding is looked up, not multiplied, and has no input. But what its errors do is known: the stream is still
 * small where the first layer reads it, and that layer's norms blow them up. So the rows of its weights take the place
 * of inputs: with A all of them, an error e costs |A e|^2. On a model of 6.8 M weights with nothing but the embedding
 * in q4_k, KLD fell from 0.000385 to 0.000270 (standard error 0.000006); with all later readers, by the power of the
 * stream there, to 0.000275.
 */
static hone_status see_embedding(struct calibration_run *r, hone_error *err)
{
    enum { TILE = 256 };
    hone_embedding_reader readers[HONE_N_EMBEDDING_READERS];
    const hone_weight *const embedding[] = {hone_model_embedding_readers(r->model, readers)};
    if (!embedding[0] || !r->opts->hessian)
        return HONE_OK;
    const size_t ncols = embedding[0]->ncols;
    float *rows = hone_alloc(TILE * ncols, sizeof *rows);
    if (!rows)
        return hone_fail_nomem(err, TILE * ncols * sizeof *rows);
    for (size_t i = 0; i < HONE_N_EMBEDDING_READERS; i++)
        for (size_t w = 0; w < readers[i].n_weights; w++) {
            const hone_weight *weight = readers[i].weights[w];
            for (size_t first = 0; first < weight->nrows; first += TILE) {
                const size_t n = weight->nrows - first < TILE ? weight->nrows - first : TILE;
                hone_weight_decode(weight, first, n, rows);
                turn_rows(&readers[i], n, ncols, rows);
                hone_input_see(&r->set, embedding, 1, rows, n);
            }
        }
    hone_release(rows);
    return failure(r, err);
}

/* Which inputs there are: one token shows. */
static hone_status discover(struct calibration_run *r, const hone_checkpoint *ckpt, hone_error *err)
{
    r->set.ctx = r->ctx;
    r->set.family = r->model->family;
    r->set.naming = hone_family_naming(r->model->family, ckpt);
    HONE_TRY(see_chunk(r, hone_chunks_tokens(&r->chunks, 0), 1, err));
    HONE_TRY(see_embedding(r, err));
    r->set.collecting = true;
    return HONE_OK;
}

/* The inputs [first, end) whose products fit the budget together; at least one. */
static hone_status round_end(const struct calibration_run *r, size_t first, size_t *end, hone_error *err)
{
    uint64_t nbytes = 0;
    for (*end = first; *end < r->set.n; ++*end) {
        const hone_input_stats *in = &r->set.inputs[*end];
        const size_t nfloats = hone_gram_nfloats(in->ncols);
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

static hone_status count_rounds(const struct calibration_run *r, size_t *n_rounds, hone_error *err)
{
    *n_rounds = 0;
    for (size_t first = 0; first < r->set.n; ++*n_rounds)
        HONE_TRY(round_end(r, first, &first, err));
    return HONE_OK;
}

static hone_status read_text(struct calibration_run *r, hone_error *err)
{
    for (size_t i = 0; i < r->chunks.n_chunks; i++) {
        HONE_TRY(see_chunk(r, hone_chunks_tokens(&r->chunks, i), r->chunks.n_ctx, err));
        hone_context_progress(r->ctx, "calibrate", ++r->n_done, r->n_to_do);
    }
    return see_embedding(r, err);
}

/* Products of the inputs [first, end), and on the first round the squares of all. */
static hone_status run_round(struct calibration_run *r, size_t first, size_t end, hone_error *err)
{
    hone_status status = HONE_OK;
    for (size_t i = first; i < end && status == HONE_OK; i++) {
        const size_t nfloats = hone_gram_nfloats(r->set.inputs[i].ncols);
        r->set.inputs[i].gram = hone_calloc(nfloats, sizeof(float));
        if (!r->set.inputs[i].gram)
            status = hone_fail_nomem(err, nfloats * sizeof(float));
    }
    if (status == HONE_OK)
        status = read_text(r, err);
    for (size_t i = first; i < end; i++) {
        if (status == HONE_OK)
            status = hone_calibration_put_gram(&r->output, &r->set, i, err);
        hone_release(r->set.inputs[i].gram);
        r->set.inputs[i].gram = NULL;
    }
    r->set.again = true;
    return status;
}

static hone_status collect(struct calibration_run *r, hone_error *err)
{
    size_t n_rounds = 1;
    if (r->opts->hessian)
        HONE_TRY(count_rounds(r, &n_rounds, err));
    if (n_rounds > 1)
        hone_context_note(r->ctx, "second moments exceed the memory budget: the text is read %zu times", n_rounds);
    r->n_to_do = (uint64_t)n_rounds * r->chunks.n_chunks;
    if (!r->opts->hessian)
        return read_text(r, err);
    for (size_t first = 0, end; first < r->set.n; first = end) {
        HONE_TRY(round_end(r, first, &end, err));
        HONE_TRY(run_round(r, first, end, err));
    }
    return HONE_OK;
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
    out->n_chunks = r->chunks.n_chunks;
    out->n_tokens = (uint64_t)r->chunks.n_chunks * r->chunks.n_ctx;
    for (size_t i = 0; i < r->set.n; i++) {
        const hone_input_stats *in = &r->set.inputs[i];
        for (size_t w = 0; w < in->n_weights; w++) {
            const hone_calibration_weight weight = {in->names[w],     in->ncols,  in->n_tokens,
                                                    r->opts->hessian, in->expert, in->n_experts};
            HONE_TRY(hone_calibration_add(out, weight, err));
        }
    }
    for (size_t i = 0; i < hone_checkpoint_n_tensors(ckpt); i++) {
        const hone_tensor *t = hone_checkpoint_tensor(ckpt, i);
        char name[HONE_ROLE_NAME_CAP];
        if (t->n_dims < 2 || !hone_role_gguf_name(r->set.family, r->set.naming, t->name, name) ||
            observed(&r->set, name))
            continue;
        HONE_TRY(
            hone_calibration_add(out, (hone_calibration_weight){.name = name, .ncols = t->shape[t->n_dims - 1]}, err));
    }
    return HONE_OK;
}

static hone_status write_file(struct calibration_run *r, const hone_checkpoint *ckpt, const char *path,
                              hone_calibration *report, hone_error *err)
{
    const hone_calibrate_options *opts = r->opts;
    const hone_calibration_origin origin = {.datasets = opts->datasets,
                                            .n_datasets = opts->n_datasets,
                                            .n_chunks = r->chunks.n_chunks,
                                            .n_ctx = r->chunks.n_ctx};
    HONE_TRY(hone_calibration_create(path, &r->set, &origin, opts->hessian, opts->overwrite, &r->output, err));
    HONE_TRY(collect(r, err));
    HONE_TRY(hone_calibration_put_sums(&r->output, &r->set, err));
    if (report)
        HONE_TRY(report_coverage(r, ckpt, report, err));
    HONE_TRY(hone_writer_sync(&r->output.writer, err));
    return hone_writer_commit(&r->output.writer, err);
}

static hone_status calibrate(struct calibration_run *r, const hone_checkpoint *ckpt, const char *text, size_t nbytes,
                             const char *path, hone_calibration *report, hone_error *err)
{
    const hone_eval_options eval = {.n_ctx = r->opts->n_ctx, .n_chunks = r->opts->n_chunks};
    hone_tokenizer *tok;
    hone_model *model;
    HONE_TRY(hone_tokenizer_load(ckpt, &tok, err));
    hone_status status = hone_model_load(r->ctx, ckpt, &model, err);
    if (status == HONE_OK) {
        r->model = model;
        status = hone_chunks_init(tok, text, nbytes, &eval, model->n_positions, &r->chunks, err);
    }
    if (status == HONE_OK)
        status = hone_run_init(r->ctx, model, r->chunks.n_ctx, &r->run, err);
    const hone_observer observer = {hone_input_see, &r->set, hone_input_see_expert};
    r->run.observer = &observer;
    if (status == HONE_OK)
        status = discover(r, ckpt, err);
    if (status == HONE_OK)
        status = write_file(r, ckpt, path, report, err);
    hone_model_free(model);
    hone_tokenizer_free(tok);
    return status;
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
    struct calibration_run r = {.ctx = ctx, .opts = opts, .output = {.writer.fd = -1}};
    hone_status status = hone_writer_check_target(path, opts->overwrite, err);
    if (status == HONE_OK)
        status = calibrate(&r, ckpt, text, nbytes, path, report, err);
    hone_calibration_output_deinit(&r.output);
    hone_input_set_deinit(&r.set);
    hone_run_deinit(&r.run);
    hone_chunks_deinit(&r.chunks);
    if (status == HONE_OK && out) {
        *out = report;
        return HONE_OK;
    }
    hone_calibration_free(report);
    return status;
}
