/* SPDX-License-Identifier: MIT */
#include "formats/checksum.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#define XXH_STATIC_LINKING_ONLY /* the state's size */
#include <xxhash.h>

#include "base/arith.h"
#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "formats/sources.h"

/* A chunk stays in the cache between reading and hashing it. */
enum { CHUNK_NBYTES = 1 << 18 };

struct check {
    const hone_context *ctx;
    const hone_checkpoint *ckpt;
    const uint8_t *sums; /* u64 each, packed */
    uint8_t *chunks;     /* CHUNK_NBYTES per thread */
    XXH3_state_t *states;
    atomic_uint_fast64_t done_nbytes;
    uint64_t total_nbytes;
    atomic_size_t first_bad; /* the lowest index of a damaged tensor */
};

uint64_t hone_header_sum(const uint8_t *header, size_t nbytes, size_t sums_at, const uint64_t *sums, size_t n_tensors)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    const size_t sums_end = sums_at + n_tensors * sizeof *sums;
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, header, sums_at);
    (void)XXH3_64bits_update(&state, sums, sums_end - sums_at);
    (void)XXH3_64bits_update(&state, header + sums_end, nbytes - sums_end);
    return XXH3_64bits_digest(&state);
}

static void note_bad(struct check *check, size_t i)
{
    size_t have = atomic_load(&check->first_bad);
    while (i < have && !atomic_compare_exchange_weak(&check->first_bad, &have, i))
        continue;
}

static hone_status hash_tensor(void *user, size_t i, int thread, hone_error *err)
{
    struct check *check = user;
    const hone_tensor *tensor = &check->ckpt->tensors[i];
    uint8_t *chunk = check->chunks + (size_t)thread * CHUNK_NBYTES;
    XXH3_state_t *state = &check->states[thread];
    (void)XXH3_64bits_reset(state);
    for (uint64_t at = 0; at < tensor->nbytes; at += CHUNK_NBYTES) {
        const uint64_t left = tensor->nbytes - at;
        const size_t n = left < CHUNK_NBYTES ? (size_t)left : CHUNK_NBYTES;
        HONE_TRY(hone_checkpoint_read(check->ckpt, tensor, at, n, chunk, err));
        (void)XXH3_64bits_update(state, chunk, n);
        const uint64_t done = atomic_fetch_add(&check->done_nbytes, n) + n;
        if (thread == 0) /* events come from one thread at a time */
            hone_context_progress(check->ctx, "check", done, check->total_nbytes);
    }
    const uint64_t want = hone_load_u64(check->sums + i * 8), got = XXH3_64bits_digest(state);
    if (got == want)
        return HONE_OK;
    note_bad(check, i);
    (void)hone_fail(err, HONE_ERROR_MISMATCH, tensor->offset, tensor->name,
                    "checksum %016" PRIx64 " differs from the header's %016" PRIx64, got, want);
    return hone_fail_in_file(err, HONE_ERROR_MISMATCH, check->ckpt->files[tensor->file].path);
}

/* All bytes before the tensors, with the sum's own eight as zeros. */
static hone_status check_header(struct check *check, hone_error *err)
{
    const hone_checkpoint *ckpt = check->ckpt;
    const uint64_t sum_at = ckpt->header_sum_at;
    uint8_t stored[8] = {0};
    XXH3_state_t *state = &check->states[0];
    (void)XXH3_64bits_reset(state);
    for (uint64_t at = 0; at < ckpt->data_start; at += CHUNK_NBYTES) {
        const uint64_t left = ckpt->data_start - at;
        const size_t n = left < CHUNK_NBYTES ? (size_t)left : CHUNK_NBYTES;
        HONE_TRY(hone_file_read(&ckpt->files[0], at, check->chunks, n, err));
        for (uint64_t i = 0; i < sizeof stored; i++) {
            if (sum_at + i < at || sum_at + i >= at + n)
                continue;
            stored[i] = check->chunks[sum_at + i - at];
            check->chunks[sum_at + i - at] = 0;
        }
        (void)XXH3_64bits_update(state, check->chunks, n);
    }
    const uint64_t want = hone_load_u64(stored), got = XXH3_64bits_digest(state);
    if (got == want)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_MISMATCH, sum_at, HONE_HEADER_SUM_KEY,
                    "checksum %016" PRIx64 " of the header, bytes 0 to %" PRIu64
                    ", differs from the stored %016" PRIx64,
                    got, ckpt->data_start, want);
    return hone_fail_in_file(err, HONE_ERROR_MISMATCH, ckpt->files[0].path);
}

/* The bytes [at, end) behind a tensor are padding: zeros. */
static hone_status check_padding(const struct check *check, const hone_tensor *tensor, uint64_t at, uint64_t end,
                                 hone_error *err)
{
    const hone_file *file = &check->ckpt->files[0];
    for (; at < end; at += CHUNK_NBYTES) {
        const size_t n = end - at < CHUNK_NBYTES ? (size_t)(end - at) : CHUNK_NBYTES;
        HONE_TRY(hone_file_read(file, at, check->chunks, n, err));
        for (size_t i = 0; i < n; i++) {
            if (check->chunks[i] == 0)
                continue;
            (void)hone_fail(err, HONE_ERROR_MISMATCH, at + i, tensor->name, "the padding behind it is not zero");
            return hone_fail_in_file(err, HONE_ERROR_MISMATCH, file->path);
        }
    }
    return HONE_OK;
}

static hone_status check_gaps(const struct check *check, hone_error *err)
{
    const hone_checkpoint *ckpt = check->ckpt;
    const hone_file *file = &ckpt->files[0];
    uint64_t end = ckpt->data_start;
    for (size_t i = 0; i < ckpt->n_tensors; i++) {
        const hone_tensor *t = &ckpt->tensors[i];
        const uint64_t next = i + 1 < ckpt->n_tensors ? ckpt->tensors[i + 1].offset : file->nbytes;
        end = hone_align_up(t->offset + t->nbytes, ckpt->alignment);
        HONE_TRY(check_padding(check, t, t->offset + t->nbytes, end < next ? end : next, err));
    }
    if (end == file->nbytes)
        return HONE_OK;
    (void)hone_fail(err, HONE_ERROR_MISMATCH, end < file->nbytes ? end : file->nbytes, NULL,
                    "the file has %" PRIu64 " bytes, its header tells of %" PRIu64, file->nbytes, end);
    return hone_fail_in_file(err, HONE_ERROR_MISMATCH, file->path);
}

static hone_status run(struct check *check, int n_threads, hone_error *err)
{
    check->chunks = hone_alloc((size_t)n_threads, CHUNK_NBYTES);
    check->states = hone_calloc((size_t)n_threads, sizeof *check->states);
    if (!check->chunks || !check->states)
        return hone_fail_nomem(err, (uint64_t)n_threads * (CHUNK_NBYTES + sizeof *check->states));
    HONE_TRY(check_header(check, err));
    HONE_TRY(hone_parallel_for(check->ckpt->n_tensors, n_threads, hash_tensor, check, err));
    HONE_TRY(check_gaps(check, err));
    hone_context_progress(check->ctx, "check", check->total_nbytes, check->total_nbytes);
    return hone_file_check_unchanged(&check->ckpt->files[0], err);
}

/* Whether there is anything to compare with. */
static hone_status find_sums(const hone_checkpoint *ckpt, const uint8_t **out, hone_error *err)
{
    const hone_metadata *sums = hone_checkpoint_find_metadata(ckpt, HONE_TENSOR_SUMS_KEY);
    const hone_metadata *header = hone_checkpoint_find_metadata(ckpt, HONE_HEADER_SUM_KEY);
    if (strcmp(ckpt->format, hone_gguf_reader.name) != 0 || !sums || !header)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "carries no checksums (%s)",
                         sums ? HONE_HEADER_SUM_KEY : HONE_TENSOR_SUMS_KEY);
    if (ckpt->n_files != 1)
        return hone_fail(err, HONE_ERROR_UNSUPPORTED, HONE_NO_OFFSET, NULL, "is split over %zu files", ckpt->n_files);
    if (sums->type != HONE_VALUE_ARRAY || sums->v.array.elem_type != HONE_VALUE_U64 ||
        sums->v.array.count != ckpt->n_tensors)
        return hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, HONE_TENSOR_SUMS_KEY, "is not one u64 per tensor");
    if (header->type != HONE_VALUE_U64)
        return hone_fail(err, HONE_ERROR_DATA, ckpt->header_sum_at, HONE_HEADER_SUM_KEY, "is not a u64");
    *out = sums->v.array.items;
    return HONE_OK;
}

hone_status hone_checkpoint_check(const hone_context *ctx, const hone_checkpoint *ckpt, size_t *n_checked,
                                  hone_error *err)
{
    *n_checked = 0;
    struct check check = {.ctx = ctx, .ckpt = ckpt};
    atomic_init(&check.done_nbytes, 0);
    atomic_init(&check.first_bad, SIZE_MAX);
    hone_status status = find_sums(ckpt, &check.sums, err);
    if (status != HONE_OK)
        return hone_fail_in_file(err, status, ckpt->path);
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        check.total_nbytes += ckpt->tensors[i].nbytes;
    status = run(&check, hone_context_n_threads(ctx), err);
    hone_release(check.states);
    hone_release(check.chunks);
    const size_t first_bad = atomic_load(&check.first_bad);
    *n_checked = status == HONE_OK ? ckpt->n_tensors : first_bad != SIZE_MAX ? first_bad : 0;
    return status;
}
