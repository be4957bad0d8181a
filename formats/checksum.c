/* SPDX-License-Identifier: MIT */
/* hone_checkpoint_check(): the XXH3 sums in the headers of files against the tensors they were taken of. */
#include <inttypes.h>
#include <string.h>

#include <xxhash.h>

#include "base/cursor.h"
#include "base/fail.h"
#include "base/mem.h"
#include "base/parallel.h"
#include "base/run_context.h"
#include "formats/safetensors_writer.h"
#include "formats/sources.h"

enum { CHUNK_NBYTES = 1 << 20 };

static const char SUMS_KEY[] = "hone.tensor_xxh3";

struct check {
    const hone_context *ctx;
    const hone_checkpoint *ckpt;
    uint64_t *want;  /* per tensor */
    uint8_t *chunks; /* CHUNK_NBYTES per thread */
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
    const uint64_t want = check->want[i], got = XXH3_64bits_digest(state);
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

static hone_status fail_in(const char *path, hone_status status, const char *item, const char *reason, hone_error *err)
{
    (void)hone_fail(err, status, HONE_NO_OFFSET, item, "%s", reason);
    return hone_fail_in_file(err, status, path);
}

static hone_status load_gguf_sums(const hone_checkpoint *ckpt, uint64_t *want, hone_error *err)
{
    const hone_metadata *sums = hone_checkpoint_find_metadata(ckpt, SUMS_KEY);
    if (!sums)
        return fail_in(ckpt->path, HONE_ERROR_UNSUPPORTED, SUMS_KEY, "carries no checksums", err);
    if (sums->type != HONE_VALUE_ARRAY || sums->v.array.elem_type != HONE_VALUE_U64 ||
        sums->v.array.count != ckpt->n_tensors)
        return fail_in(ckpt->path, HONE_ERROR_DATA, SUMS_KEY, "is not one u64 per tensor", err);
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        want[i] = hone_load_u64((const uint8_t *)sums->v.array.items + i * 8);
    return HONE_OK;
}

static bool parse_sum(const char *digits, uint64_t *sum)
{
    *sum = 0;
    for (int i = 0; i < HONE_SUM_DIGITS; i++) {
        const char c = digits[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        *sum = *sum << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

/* The header's own sum. Its digits are found in the text, not through the parsed JSON: every byte counts. */
static hone_status check_header(const hone_file *file, hone_error *err)
{
    static const char pattern[] = "\"" HONE_SAFETENSORS_HEADER_SUM "\":\"";
    uint8_t length[8];
    HONE_TRY(hone_file_read(file, 0, length, sizeof length, err));
    const size_t nbytes = (size_t)hone_load_u64(length) + sizeof length; /* bounded when the file was opened */
    uint8_t *header = hone_alloc(nbytes, 1);
    if (!header)
        return hone_fail_nomem(err, nbytes);
    hone_status status = hone_file_read(file, 0, header, nbytes, err);
    if (status == HONE_OK) {
        const uint8_t *found = memmem(header, nbytes, pattern, sizeof pattern - 1);
        const size_t at = found ? (size_t)(found - header) + sizeof pattern - 1 : nbytes;
        uint64_t want;
        if (nbytes - at < HONE_SUM_DIGITS || !parse_sum((const char *)header + at, &want))
            status =
                fail_in(file->path, HONE_ERROR_DATA, HONE_SAFETENSORS_HEADER_SUM, "is missing or no checksum", err);
        else if (hone_safetensors_header_sum(header, nbytes, at) != want)
            status = fail_in(file->path, HONE_ERROR_MISMATCH, HONE_SAFETENSORS_HEADER_SUM,
                             "the header differs from its checksum", err);
    }
    hone_release(header);
    return status;
}

/* Tensors are in file order, and within a file in the order of their data. */
static hone_status load_safetensors_sums(const hone_checkpoint *ckpt, uint64_t *want, hone_error *err)
{
    size_t t = 0;
    for (unsigned file = 0; file < ckpt->n_files; file++) {
        const char *path = ckpt->files[file].path;
        const hone_string text = file < ckpt->n_sums ? ckpt->sums[file] : (hone_string){0};
        if (!text.data)
            return fail_in(path, HONE_ERROR_UNSUPPORTED, SUMS_KEY, "carries no checksums", err);
        const size_t n = text.len / HONE_SUM_DIGITS;
        bool ok = text.len % HONE_SUM_DIGITS == 0 && n <= ckpt->n_tensors - t;
        for (size_t i = 0; i < n && ok; i++, t++)
            ok = ckpt->tensors[t].file == file && parse_sum(text.data + i * HONE_SUM_DIGITS, &want[t]);
        if (!ok || (t < ckpt->n_tensors && ckpt->tensors[t].file == file))
            return fail_in(path, HONE_ERROR_DATA, SUMS_KEY, "is not 16 hexadecimal digits per tensor", err);
        HONE_TRY(check_header(&ckpt->files[file], err));
    }
    return HONE_OK;
}

static hone_status load_sums(const hone_checkpoint *ckpt, uint64_t *want, hone_error *err)
{
    if (strcmp(ckpt->format, hone_gguf_reader.name) == 0)
        return load_gguf_sums(ckpt, want, err);
    if (strcmp(ckpt->format, hone_safetensors_reader.name) == 0)
        return load_safetensors_sums(ckpt, want, err);
    return fail_in(ckpt->path, HONE_ERROR_UNSUPPORTED, SUMS_KEY, "carries no checksums", err);
}

hone_status hone_checkpoint_check(const hone_context *ctx, const hone_checkpoint *ckpt, size_t *n_checked,
                                  hone_error *err)
{
    *n_checked = 0;
    struct check check = {.ctx = ctx, .ckpt = ckpt, .want = hone_calloc(ckpt->n_tensors, sizeof *check.want)};
    if (!check.want)
        return hone_fail_nomem(err, ckpt->n_tensors * sizeof *check.want);
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        check.total_nbytes += ckpt->tensors[i].nbytes;
    const int n_threads = hone_context_n_threads(ctx);
    hone_status status = load_sums(ckpt, check.want, err);
    if (status == HONE_OK)
        status = run(&check, n_threads, err);
    for (int t = 0; check.states && t < n_threads; t++)
        if (check.states[t])
            (void)XXH3_freeState(check.states[t]);
    hone_release(check.states);
    hone_release(check.chunks);
    hone_release(check.want);
    *n_checked = check.n_checked;
    return status;
}
