/* SPDX-License-Identifier: MIT */
#include "quantize/layer_pass.h"

#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"

static hone_status failure(const hone_layer_pass *p, hone_error *err)
{
    if (p->set.status != HONE_OK && err)
        *err = p->set.error;
    return p->set.status;
}

static size_t output_stage(const hone_layer_pass *p)
{
    return p->model->n_layers + 1;
}

static void see_output(const hone_layer_pass *p, size_t n)
{
    const hone_weight *const output[] = {&p->model->output};
    (void)hone_observe(p->run.observer, output, 1, p->run.hidden, n);
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
hone_status hone_layer_pass_see_embedding(hone_layer_pass *p, hone_error *err)
{
    enum { TILE = 256 };
    hone_embedding_reader readers[HONE_N_EMBEDDING_READERS];
    const hone_weight *const embedding[] = {hone_model_embedding_readers(p->model, readers)};
    if (!embedding[0])
        return HONE_OK;
    if (p->set.complete)
        HONE_TRY(hone_model_hold(p->model, 1, err));
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
                hone_input_see(&p->set, embedding, 1, rows, n);
            }
        }
    hone_release(rows);
    return failure(p, err);
}

/* Which inputs there are: one token shows, and weights that are not held do as well. */
static hone_status discover(hone_layer_pass *p, hone_layer_ends ends, hone_error *err)
{
    HONE_TRY(hone_run_begin(&p->run, hone_chunks_tokens(&p->chunks, 0), 1, err));
    for (size_t i = 0; i < p->model->n_layers; i++) {
        p->set.stage = i + 1;
        hone_run_layer(&p->run, i);
    }
    p->set.stage = output_stage(p);
    if (ends != HONE_ENDS_NONE)
        see_output(p, 1);
    p->set.stage = 0;
    if (ends == HONE_ENDS_OUTPUT_AND_EMBEDDING)
        HONE_TRY(hone_layer_pass_see_embedding(p, err));
    p->set.complete = true;
    return failure(p, err);
}

static hone_status describe_matrices(hone_layer_pass *p, hone_error *err)
{
    size_t n = 0;
    while (hone_model_matrix(p->model, n, NULL))
        n++;
    p->described = hone_alloc(n, sizeof *p->described);
    if (!p->described)
        return hone_fail_nomem(err, n * sizeof *p->described);
    for (size_t i = 0; i < n; i++)
        p->described[i] = *hone_model_matrix(p->model, i, NULL);
    return HONE_OK;
}

hone_status hone_layer_pass_open(const hone_context *ctx, const hone_checkpoint *ckpt,
                                 const hone_calibration_text *text, hone_layer_ends ends, hone_layer_pass *out,
                                 hone_error *err)
{
    *out = (hone_layer_pass){.ctx = ctx, .streams = HONE_NO_SPILL};
    const hone_eval_options eval = {.n_ctx = text->n_ctx, .n_chunks = text->n_chunks};
    hone_tokenizer *tok;
    HONE_TRY(hone_tokenizer_load(ckpt, &tok, err));
    hone_status status = hone_model_open(ctx, ckpt, &out->model, err);
    if (status == HONE_OK)
        status = describe_matrices(out, err);
    if (status == HONE_OK)
        status = hone_chunks_init(tok, text->text, text->nbytes, &eval, out->model->n_positions, &out->chunks, err);
    if (status == HONE_OK)
        status = hone_run_init(ctx, out->model, out->chunks.n_ctx, &out->run, err);
    if (status == HONE_OK) {
        out->set.ctx = ctx;
        out->set.family = out->model->family;
        out->set.naming = hone_family_naming(out->model->family, ckpt);
        out->observer = (hone_observer){.see = hone_input_see, .user = &out->set, .see_expert = hone_input_see_expert};
        out->run.observer = &out->observer;
        status = discover(out, ends, err);
    }
    hone_tokenizer_free(tok);
    if (status != HONE_OK)
        hone_layer_pass_close(out);
    return status;
}

void hone_layer_pass_close(hone_layer_pass *p)
{
    hone_spill_deinit(&p->streams);
    hone_input_set_deinit(&p->set);
    hone_run_deinit(&p->run);
    hone_chunks_deinit(&p->chunks);
    hone_model_free(p->model);
    hone_release(p->described);
    *p = (hone_layer_pass){.streams = HONE_NO_SPILL};
}

/* hone_run_init() allocated as much. */
static size_t stream_nbytes(const hone_layer_pass *p)
{
    return p->chunks.n_ctx * p->model->n_embd * sizeof(float);
}

hone_status hone_layer_pass_begin(hone_layer_pass *p, uint64_t max_nbytes, const char *beside, hone_error *err)
{
    hone_spill_deinit(&p->streams);
    hone_weight *w;
    for (size_t i = 0; (w = hone_model_matrix(p->model, i, NULL)); i++) {
        hone_weight_drop(w);
        *w = p->described[i];
    }
    p->stage = 0;
    return hone_spill_init(p->chunks.n_chunks, stream_nbytes(p), max_nbytes, beside, &p->streams, err);
}

hone_status hone_layer_pass_step(hone_layer_pass *p, size_t chunk, hone_error *err)
{
    const size_t n = p->chunks.n_ctx;
    if (p->stage == 0)
        return hone_run_begin(&p->run, hone_chunks_tokens(&p->chunks, chunk), n, err);
    HONE_TRY(hone_run_resume(&p->run, n, err));
    HONE_TRY(hone_spill_get(&p->streams, chunk, p->run.hidden, err));
    if (p->stage < output_stage(p)) {
        hone_run_layer(&p->run, p->stage - 1);
    } else {
        hone_run_finish(&p->run);
        see_output(p, n);
    }
    return failure(p, err);
}

/* The output matrix takes no part in a pass. */
hone_status hone_layer_pass_hold(hone_layer_pass *p, hone_error *err)
{
    return p->stage == output_stage(p) ? HONE_OK : hone_model_hold(p->model, p->stage, err);
}

hone_status hone_layer_pass_see(hone_layer_pass *p, bool keep, hone_error *err)
{
    HONE_TRY(hone_layer_pass_hold(p, err));
    for (size_t i = 0; i < p->chunks.n_chunks; i++) {
        HONE_TRY(hone_layer_pass_step(p, i, err));
        if (keep)
            HONE_TRY(hone_spill_put(&p->streams, i, p->run.hidden, err));
        if (p->phase)
            hone_context_progress(p->ctx, p->phase, ++p->n_done, p->n_to_do);
    }
    if (keep)
        hone_model_drop(p->model, p->stage++);
    return HONE_OK;
}

uint64_t hone_layer_pass_stage_nbytes(const hone_layer_pass *p)
{
    uint64_t most = 0;
    for (size_t stage = 0; stage <= p->model->n_layers; stage++) {
        uint64_t nbytes = 0;
        const hone_weight *w;
        for (size_t i = 0; (w = p->model->family->matrix(p->model, stage, i)); i++)
            nbytes += (uint64_t)w->nrows * w->row_nbytes;
        most = nbytes > most ? nbytes : most;
    }
    return most;
}

uint64_t hone_layer_pass_run_nbytes(const hone_layer_pass *p)
{
    size_t nfloats;
    if (!p->model->family->scratch_nfloats(p->model, p->chunks.n_ctx, p->ctx->n_threads, &nfloats))
        return UINT64_MAX; /* unreachable: hone_run_init() allocated it */
    return (uint64_t)nfloats * sizeof(float) + stream_nbytes(p);
}

uint64_t hone_layer_pass_streams_nbytes(const hone_layer_pass *p)
{
    return (uint64_t)p->chunks.n_chunks * stream_nbytes(p);
}
