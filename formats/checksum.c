/* SPDX-License-Identifier: MIT */
/* hone_checkpoint_check(): the XXH3 sums in a GGUF header against the tensors they were taken of. */
#include <inttypes.h>
#include <string.h>

#include <xxhash.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "formats/sources.h"

enum { CHUNK_NBYTES = 1 << 20 };

static const char SUMS_KEY[] = "hone.tensor_xxh3";

struct check {
    const hone_context *ctx;
    const hone_checkpoint *ckpt;
    const uint8_t *sums; /* u64 each, packed */
    uint8_t *chunks;     /* CHUNK_NBYTES per thread */
    XXH3_state_t **states;
    uint64_t done_nbytes, total_nbytes;
    size_t n_checked;
};

static hone_status hash_tensor(void *user, size_t i, int thread, hone_error *err)
{
    const struct check *check = user;
    const hone_tensor *tensor = &check->ckpt->tensors[i];
    uint8_t *chunk = check->chunks + (size_t)thread * CHUNK_NBYTES;
    XXH3_state_t *state = check->states[thread];
    (void)XXH3_64bits_reset(state);
    for (uint64_t at = 0; at < tensor->nbytes; at += CHUNK_NBYTES) {
        const uint64_t left = tensor->nbytes - at;
        const size_t n = left < CHUNK_NBYTES ? (size_t)left : CHUNK_NBYTES;
        HONE_TRY(hone_checkpoint_read(check->ckpt, tensor, at, n, chunk, err));
        (void)XXH3_64bits_update(state, chunk, n);
    }
    const uint64_t want = hone_load_u64(check->sums + i * 8), got = XXH3_64bits_digest(state);
    if (got == want)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_MISMATCH, tensor->offset, tensor->name,
                    "checksum %016" PRIx64 " differs from the header's %016" PRIx64, got, want);
    return hone_fail_in_file(err, HONE_ERROR_MISMATCH, check->ckpt->files[tensor->file].path);
}

static hone_status count_tensor(void *user, size_t i, int thread, hone_error *err)
{
    struct check *check = user;
    (void)thread;
    (void)err;
    check->n_checked++;
    check->done_nbytes += check->ckpt->tensors[i].nbytes;
    hone_context_progress(check->ctx, "check", check->done_nbytes, check->total_nbytes);
    return HONE_OK;
}

static hone_status run(struct check *check, int n_threads, hone_error *err)
{
    check->chunks = hone_alloc((size_t)n_threads, CHUNK_NBYTES);
    check->states = hone_calloc((size_t)n_threads, sizeof(XXH3_state_t *));
    if (!check->chunks || !check->states)
        return hone_fail_nomem(err, (uint64_t)n_threads * CHUNK_NBYTES);
    for (int t = 0; t < n_threads; t++) {
        check->states[t] = XXH3_createState();
        if (!check->states[t])
            return hone_fail(err, HONE_ERROR_NOMEM, HONE_NO_OFFSET, NULL, "out of memory for a hash state");
    }
    return hone_parallel_ordered(check->ckpt->n_tensors, n_threads, hash_tensor, count_tensor, check, err);
}

hone_status hone_checkpoint_check(const hone_context *ctx, const hone_checkpoint *ckpt, size_t *n_checked,
                                  hone_error *err)
{
    *n_checked = 0;
    const hone_metadata *sums = hone_checkpoint_find_metadata(ckpt, SUMS_KEY);
    if (strcmp(ckpt->format, hone_gguf_reader.name) != 0 || !sums) {
        (void)hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "carries no checksums (%s)", SUMS_KEY);
        return hone_fail_in_file(err, HONE_ERROR_UNSUPPORTED, ckpt->path);
    }
    if (sums->type != HONE_VALUE_ARRAY || sums->v.array.elem_type != HONE_VALUE_U64 ||
        sums->v.array.count != ckpt->n_tensors) {
        (void)hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, SUMS_KEY, "is not one u64 per tensor");
        return hone_fail_in_file(err, HONE_ERROR_DATA, ckpt->path);
    }
    struct check check = {.ctx = ctx, .ckpt = ckpt, .sums = sums->v.array.items};
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        check.total_nbytes += ckpt->tensors[i].nbytes;
    const int n_threads = hone_context_n_threads(ctx);
    const hone_status status = run(&check, n_threads, err);
    for (int t = 0; check.states && t < n_threads; t++)
        if (check.states[t])
            (void)XXH3_freeState(check.states[t]);
    hone_release(check.states);
    hone_release(check.chunks);
    *n_checked = check.n_checked;
    return status;
}
