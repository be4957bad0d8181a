/* SPDX-License-Identifier: MIT */
/* Writing the GGUF form of an importance matrix. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/writer.h"
#include "formats/checksum.h"
#include "formats/gguf_writer.h"
#include "formats/imatrix.h"
#include "formats/imatrix_keys.h"

static int compare_names(const void *a, const void *b)
{
    const hone_imatrix_sums *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static hone_status check(const hone_imatrix_sums *e, hone_error *err)
{
    size_t nelems;
    if (e->ncols == 0 || e->n_mats == 0 || !hone_mul_size((size_t)e->ncols, (size_t)e->n_mats, &nelems))
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, e->name, "no columns");
    for (size_t i = 0; i < nelems; i++)
        if (!isfinite(e->in_sum2[i]) || e->in_sum2[i] < 0.0f)
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, e->name, "sum of column %zu is %g", i % e->ncols,
                             (double)e->in_sum2[i]);
    for (size_t i = 0; i < e->n_mats; i++)
        if (!isfinite(e->counts[i]) || e->counts[i] < 0.0f || floorf(e->counts[i]) != e->counts[i])
            return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, e->name, "count %zu is %g", i, (double)e->counts[i]);
    return HONE_OK;
}

static void add_tensor(hone_gguf_header *h, const hone_imatrix_sums *e, const char *suffix, uint64_t ncols)
{
    char name[2 * HONE_GGUF_MAX_NAME] = "";
    const size_t len = strlen(e->name) < HONE_GGUF_MAX_NAME ? strlen(e->name) : HONE_GGUF_MAX_NAME;
    memcpy(name, e->name, len); /* one that had to be cut is too long by its suffix */
    memcpy(name + len, suffix, strlen(suffix));
    const uint64_t shape[2] = {e->n_mats, ncols};
    hone_gguf_add_tensor(h, name, HONE_F32, 2, shape);
}

static hone_status lay_out(hone_gguf_header *h, const hone_imatrix_sums *const *sorted, size_t n,
                           const hone_imatrix_origin *origin, hone_gguf_layout *out, hone_error *err)
{
    hone_string *datasets = hone_alloc(origin->n_datasets, sizeof *datasets);
    if (!datasets)
        return hone_fail_nomem(err, origin->n_datasets * sizeof *datasets);
    for (size_t i = 0; i < origin->n_datasets; i++)
        datasets[i] = (hone_string){origin->datasets[i], strlen(origin->datasets[i])};
    hone_gguf_put_str(h, HONE_IMATRIX_TYPE_KEY, HONE_IMATRIX_TYPE);
    hone_gguf_put_str_array(h, HONE_IMATRIX_DATASETS_KEY, datasets, origin->n_datasets);
    hone_gguf_put_u32(h, HONE_IMATRIX_N_CHUNKS_KEY, origin->n_chunks);
    hone_gguf_put_u32(h, HONE_IMATRIX_CHUNK_SIZE_KEY, origin->chunk_ntokens);
    hone_gguf_put_sums(h, 2 * n);
    for (size_t i = 0; i < n; i++) {
        add_tensor(h, sorted[i], HONE_IMATRIX_SUMS, sorted[i]->ncols);
        add_tensor(h, sorted[i], HONE_IMATRIX_COUNTS, 1);
    }
    hone_release(datasets);
    return hone_gguf_finish(h, HONE_GGUF_ALIGNMENT, out, err);
}

/* What is not written between tensors is zero: the file was made at its size. */
static hone_status write_data(const hone_writer *w, const hone_gguf_header *h, const hone_gguf_layout *layout,
                              const hone_imatrix_sums *const *sorted, size_t n, hone_error *err)
{
    for (size_t i = 0; i < n; i++) {
        HONE_TRY(hone_writer_write(w, layout->offsets[2 * i], sorted[i]->in_sum2, (size_t)layout->sizes[2 * i], err));
        HONE_TRY(
            hone_writer_write(w, layout->offsets[2 * i + 1], sorted[i]->counts, (size_t)layout->sizes[2 * i + 1], err));
    }
    HONE_TRY(hone_gguf_seal(w, h, layout, err));
    return hone_writer_sync(w, err);
}

static hone_status write_file(const char *path, const hone_gguf_header *h, const hone_gguf_layout *layout,
                              const hone_imatrix_sums *const *sorted, size_t n, bool overwrite, hone_error *err)
{
    hone_writer w;
    const hone_writer_options how = {.overwrite = overwrite, .restart = true};
    HONE_TRY(hone_writer_open(path, layout->file_nbytes, how, &w, err));
    hone_status status = hone_writer_reserve(&w, err);
    if (status == HONE_OK)
        status = write_data(&w, h, layout, sorted, n, err);
    if (status == HONE_OK)
        return hone_writer_commit(&w, err);
    hone_writer_abort(&w);
    return status;
}

hone_status hone_imatrix_write(const char *path, const hone_imatrix_sums *entries, size_t n,
                               const hone_imatrix_origin *origin, bool overwrite, hone_error *err)
{
    if (n == 0)
        return hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL, "an importance matrix without entries");
    for (size_t i = 0; i < n; i++)
        HONE_TRY(check(&entries[i], err));
    const hone_imatrix_sums **sorted = hone_alloc(n, sizeof *sorted);
    if (!sorted)
        return hone_fail_nomem(err, n * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &entries[i];
    qsort(sorted, n, sizeof *sorted, compare_names);
    hone_gguf_header *h = hone_gguf_new(); /* NULL is reported by finish */
    hone_gguf_layout layout = {0};
    hone_status status = lay_out(h, sorted, n, origin, &layout, err);
    if (status == HONE_OK)
        status = write_file(path, h, &layout, sorted, n, overwrite, err);
    hone_gguf_layout_deinit(&layout);
    hone_gguf_free(h);
    hone_release(sorted);
    return status;
}
