/* SPDX-License-Identifier: MIT */
#include "verify/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/run_context.h"
#include "base/transpose.h"

/* "[2048, 128]", for messages about shapes. */
static void print_shape(const hone_tensor *t, char *buf, size_t cap)
{
    size_t len = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < t->n_dims && len < cap; i++)
        len += (size_t)snprintf(buf + len, cap - len, "%s%" PRIu64, i ? ", " : "", t->shape[i]);
}

static hone_status find(const hone_checkpoint *ckpt, const char *name, const hone_tensor **out, hone_error *err)
{
    *out = hone_checkpoint_find(ckpt, name);
    if (!*out)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "tensor is missing");
    return HONE_OK;
}

static hone_status find_decoder(const hone_context *ctx, const hone_tensor *t, hone_decode_fn *out, hone_error *err)
{
    const hone_dtype_info *info = hone_dtype_describe(t->dtype);
    *out = info->is_float ? hone_decoder(t->dtype, ctx->cpu) : NULL;
    if (!*out)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, t->name, "cannot compute with weights of type %s",
                         info->name);
    return HONE_OK;
}

static hone_status read_all(const hone_checkpoint *ckpt, const hone_tensor *t, size_t nbytes, unsigned char **out,
                            hone_error *err)
{
    if (t->nbytes != nbytes)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->name,
                         "%" PRIu64 " bytes; its shape and type need %zu", t->nbytes, nbytes);
    *out = hone_alloc(nbytes, 1);
    if (!*out)
        return hone_fail_nomem(err, nbytes);
    return hone_checkpoint_read(ckpt, t, 0, nbytes, *out, err);
}

/* The scale beside a GGUF matrix, if there is one. Source: llama-model.cpp (".scale"), gguf-py (NVFP4). */
static hone_status find_scale(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, hone_weight *w,
                              hone_error *err)
{
    static const char weight[] = ".weight";
    char beside[160];
    const size_t len = strlen(name);
    if (strcmp(hone_checkpoint_format(ckpt), "gguf") != 0 || len < sizeof weight || len >= sizeof beside ||
        strcmp(name + len - (sizeof weight - 1), weight) != 0)
        return HONE_OK;
    (void)snprintf(beside, sizeof beside, "%.*s.scale", (int)(len - (sizeof weight - 1)), name);
    if (!hone_checkpoint_find(ckpt, beside))
        return HONE_OK;
    float *value;
    HONE_TRY(hone_vector_load(ctx, ckpt, beside, 1, &value, err));
    w->scaled = true;
    w->scale = value[0];
    hone_release(value);
    return HONE_OK;
}

/* Turns w->data, which is (ncols, nrows), round. */
static hone_status transpose(hone_weight *w, hone_error *err)
{
    const hone_dtype_info *info = hone_dtype_describe(w->dtype);
    if (info->block_nelems != 1)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, w->name, "cannot transpose blocks of type %s",
                         info->name);
    unsigned char *turned = hone_alloc(w->nrows, w->row_nbytes);
    if (!turned)
        return hone_fail_nomem(err, (uint64_t)w->nrows * w->row_nbytes);
    hone_transpose(w->data, w->ncols, w->nrows, info->block_nbytes, turned);
    hone_release(w->data);
    w->data = turned;
    return HONE_OK;
}

static hone_status check_shape(const hone_tensor *t, const size_t *wanted, unsigned n_wanted, hone_error *err)
{
    bool same = t->n_dims == n_wanted;
    for (unsigned i = 0; same && i < n_wanted; i++)
        same = t->shape[i] == wanted[i];
    if (same)
        return HONE_OK;
    char shape[192], asked[64] = "";
    print_shape(t, shape, sizeof shape);
    for (unsigned i = 0; i < n_wanted; i++)
        (void)snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s%zu", i ? ", " : "", wanted[i]);
    return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, t->name, "shape is [%s]; the configuration asks for [%s]",
                     shape, asked);
}

/* The rows of a tensor whose shape is known to be right. */
static hone_status load_rows(const hone_context *ctx, const hone_checkpoint *ckpt, const hone_tensor *t, size_t nrows,
                             size_t ncols, bool transposed, hone_weight *out, hone_error *err)
{
    const char *name = t->name;
    if (ncols > HONE_MAX_ROW_NELEMS)
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, name, "rows of %zu elements; at most %d", ncols,
                         HONE_MAX_ROW_NELEMS);
    hone_weight w = {.name = t->name, .dtype = t->dtype, .nrows = nrows, .ncols = ncols};
    HONE_TRY(find_decoder(ctx, t, &w.decode, err));
    uint64_t row_nbytes;
    size_t nbytes;
    if (hone_dtype_row_nbytes(t->dtype, ncols, &row_nbytes) != HONE_OK || !hone_mul_size(nrows, row_nbytes, &nbytes))
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "rows of %zu elements do not hold whole blocks",
                         ncols);
    w.row_nbytes = row_nbytes;
    HONE_TRY(find_scale(ctx, ckpt, name, &w, err));
    hone_status status = read_all(ckpt, t, nbytes, &w.data, err);
    if (status == HONE_OK && transposed)
        status = transpose(&w, err);
    if (status != HONE_OK) {
        hone_weight_deinit(&w);
        return hone_fail_for(err, status, name);
    }
    *out = w;
    return HONE_OK;
}

static hone_status load(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t nrows,
                        size_t ncols, bool transposed, hone_weight *out, hone_error *err)
{
    memset(out, 0, sizeof *out);
    const hone_tensor *t;
    HONE_TRY(find(ckpt, name, &t, err));
    HONE_TRY(check_shape(t, (size_t[]){transposed ? ncols : nrows, transposed ? nrows : ncols}, 2, err));
    return load_rows(ctx, ckpt, t, nrows, ncols, transposed, out, err);
}

hone_status hone_weight_load_stack(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t n,
                                   size_t nrows, size_t ncols, hone_weight *out, hone_error *err)
{
    memset(out, 0, sizeof *out);
    const hone_tensor *t;
    HONE_TRY(find(ckpt, name, &t, err));
    HONE_TRY(check_shape(t, (size_t[]){n, nrows, ncols}, 3, err));
    size_t all;
    if (!hone_mul_size(n, nrows, &all))
        return hone_fail(err, HONE_ERROR_LIMIT, HONE_NO_OFFSET, name, "%zu matrices of %zu rows", n, nrows);
    return load_rows(ctx, ckpt, t, all, ncols, false, out, err);
}

hone_weight hone_weight_of_stack(const hone_weight *stack, size_t n, size_t i)
{
    hone_weight w = hone_weight_borrow(stack);
    w.nrows = stack->nrows / n;
    w.data += i * w.nrows * w.row_nbytes;
    return w;
}

hone_status hone_weight_load(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t nrows,
                             size_t ncols, hone_weight *out, hone_error *err)
{
    return load(ctx, ckpt, name, nrows, ncols, false, out, err);
}

hone_status hone_weight_load_transposed(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name,
                                        size_t nrows, size_t ncols, hone_weight *out, hone_error *err)
{
    return load(ctx, ckpt, name, nrows, ncols, true, out, err);
}

hone_weight hone_weight_borrow(const hone_weight *owner)
{
    hone_weight w = *owner;
    w.borrowed = true;
    return w;
}

void hone_weight_deinit(hone_weight *w)
{
    if (!w->borrowed)
        hone_release(w->data);
    memset(w, 0, sizeof *w);
}

bool hone_weight_same(const hone_weight *a, const hone_weight *b)
{
    return a->dtype == b->dtype && a->scaled == b->scaled && a->scale == b->scale && a->nrows == b->nrows &&
           a->ncols == b->ncols && memcmp(a->data, b->data, a->nrows * a->row_nbytes) == 0;
}

void hone_weight_decode(const hone_weight *w, size_t first, size_t n, float *dst)
{
    /* Rows are stored without gaps and hold whole blocks, so n of them decode as one run. */
    w->decode(w->data + first * w->row_nbytes, dst, n * w->ncols);
    if (w->scaled)
        for (size_t i = 0; i < n * w->ncols; i++)
            dst[i] *= w->scale;
}

hone_status hone_vector_load(const hone_context *ctx, const hone_checkpoint *ckpt, const char *name, size_t nelems,
                             float **out, hone_error *err)
{
    *out = NULL;
    const hone_tensor *t;
    HONE_TRY(find(ckpt, name, &t, err));
    if (t->n_dims != 1 || t->shape[0] != nelems) {
        char shape[192];
        print_shape(t, shape, sizeof shape);
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "shape is [%s]; the configuration asks for [%zu]",
                         shape, nelems);
    }
    hone_decode_fn decode;
    HONE_TRY(find_decoder(ctx, t, &decode, err));
    uint64_t nbytes;
    if (hone_dtype_row_nbytes(t->dtype, nelems, &nbytes) != HONE_OK)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, name, "%zu elements do not fill whole blocks", nelems);
    unsigned char *raw = NULL;
    hone_status status = read_all(ckpt, t, nbytes, &raw, err);
    if (status == HONE_OK) {
        *out = hone_alloc(nelems, sizeof **out);
        if (*out)
            decode(raw, *out, nelems);
        else
            status = hone_fail_nomem(err, nelems * sizeof **out);
    }
    hone_release(raw);
    return status == HONE_OK ? HONE_OK : hone_fail_for(err, status, name);
}
