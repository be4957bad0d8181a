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
#include "formats/safetensors_writer.h"
#include "formats/sources.h"

/* A chunk stays in the cache between reading and hashing it. */
enum { CHUNK_NBYTES = 1 << 18 };

struct check {
    const hone_context *ctx;
    const hone_checkpoint *ckpt;
    bool joint;      /* the file has HONE_JOINT_SUMS_KEY */
    uint64_t *want;  /* per tensor; joint: what was computed */
    uint8_t *chunks; /* CHUNK_NBYTES per thread */
    XXH3_state_t *states;
    atomic_uint_fast64_t done_nbytes;
    uint64_t total_nbytes;
    atomic_size_t first_bad; /* the lowest index of a damaged tensor */
};

uint64_t hone_header_sum(const uint8_t *header, size_t nbytes)
{
    return XXH3_64bits(header, nbytes);
}

/* ---- joint sums ---- */

static uint64_t times_x(uint64_t a)
{
    return a << 1 ^ (a >> 63 ? 0x1b : 0);
}

/* By Horner's rule from the last to the header. */
static void join(uint64_t header, const uint64_t *sums, size_t n, uint64_t out[HONE_JOINT_SUMS])
{
    out[0] = out[1] = 0;
    for (size_t i = n + 1; i-- > 0;) {
        const uint64_t sum = i ? sums[i - 1] : header;
        out[0] ^= sum;
        out[1] = times_x(out[1]) ^ sum;
    }
}

void hone_joint_sums_put(uint8_t *header, size_t nbytes, size_t at, const uint64_t *sums, size_t n)
{
    uint64_t joint[HONE_JOINT_SUMS];
    join(hone_header_sum(header, nbytes), sums, n, joint);
    for (size_t i = 0; i < HONE_JOINT_SUMS; i++)
        hone_store_u64(header + at + 8 * i, joint[i]);
}

/* Which of the header (0) and n tensors is wrong, the words differing by a and b; SIZE_MAX: more than one. */
static size_t locate(uint64_t a, uint64_t b, size_t n)
{
    for (size_t i = 0; i <= n && a != 0; i++, a = times_x(a))
        if (a == b)
            return i;
    return SIZE_MAX;
}

/* ---- checking ---- */

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
    const uint64_t want = check->want[i], got = XXH3_64bits_digest(state);
    if (check->joint)
        check->want[i] = got;
    if (check->joint || got == want)
        return HONE_OK;
    note_bad(check, i);
    (void)hone_fail(err, HONE_ERROR_MISMATCH, tensor->offset, tensor->name,
                    "checksum %016" PRIx64 " differs from the header's %016" PRIx64, got, want);
    return hone_fail_in_file(err, HONE_ERROR_MISMATCH, check->ckpt->files[tensor->file].path);
}

/* GGUF: the sum of all bytes before the tensors, with n of its own as zeros, which are in *stored afterwards. */
static hone_status hash_gguf_header(const struct check *check, uint8_t *stored, size_t n_stored, uint64_t *out,
                                    hone_error *err)
{
    const hone_checkpoint *ckpt = check->ckpt;
    const uint64_t sum_at = ckpt->header_sum_at;
    XXH3_state_t *state = &check->states[0];
    (void)XXH3_64bits_reset(state);
    for (uint64_t at = 0; at < ckpt->data_start; at += CHUNK_NBYTES) {
        const uint64_t left = ckpt->data_start - at;
        const size_t n = left < CHUNK_NBYTES ? (size_t)left : CHUNK_NBYTES;
        HONE_TRY(hone_file_read(&ckpt->files[0], at, check->chunks, n, err));
        for (uint64_t i = 0; i < n_stored; i++) {
            if (sum_at + i < at || sum_at + i >= at + n)
                continue;
            stored[i] = check->chunks[sum_at + i - at];
            check->chunks[sum_at + i - at] = 0;
        }
        (void)XXH3_64bits_update(state, check->chunks, n);
    }
    *out = XXH3_64bits_digest(state);
    return HONE_OK;
}

static hone_status header_differs(const struct check *check, const char *key, uint64_t got, uint64_t want,
                                  hone_error *err)
{
    (void)hone_fail(err, HONE_ERROR_MISMATCH, check->ckpt->header_sum_at, key,
                    "checksum %016" PRIx64 " of the header, bytes 0 to %" PRIu64
                    ", differs from the stored %016" PRIx64,
                    got, check->ckpt->data_start, want);
    return hone_fail_in_file(err, HONE_ERROR_MISMATCH, check->ckpt->files[0].path);
}

static hone_status check_gguf_header(const struct check *check, hone_error *err)
{
    uint8_t stored[8] = {0};
    uint64_t got;
    HONE_TRY(hash_gguf_header(check, stored, sizeof stored, &got, err));
    const uint64_t want = hone_load_u64(stored);
    return got == want ? HONE_OK : header_differs(check, HONE_HEADER_SUM_KEY, got, want, err);
}

/* The sums of the tensors are computed. */
static hone_status check_joint_sums(struct check *check, hone_error *err)
{
    const hone_checkpoint *ckpt = check->ckpt;
    uint8_t stored[8 * HONE_JOINT_SUMS] = {0};
    uint64_t header, got[HONE_JOINT_SUMS];
    HONE_TRY(hash_gguf_header(check, stored, sizeof stored, &header, err));
    join(header, check->want, ckpt->n_tensors, got);
    const uint64_t a = got[0] ^ hone_load_u64(stored), b = got[1] ^ hone_load_u64(stored + 8);
    if (a == 0 && b == 0)
        return HONE_OK;
    const size_t which = locate(a, b, ckpt->n_tensors);
    if (which == 0)
        return header_differs(check, HONE_JOINT_SUMS_KEY, header, header ^ a, err);
    if (which == SIZE_MAX) {
        (void)hone_fail(err, HONE_ERROR_MISMATCH, HONE_NO_OFFSET, HONE_JOINT_SUMS_KEY,
                        "several tensors, or the header and a tensor, differ from their checksums");
    } else {
        const hone_tensor *t = &ckpt->tensors[which - 1];
        note_bad(check, which - 1);
        (void)hone_fail(err, HONE_ERROR_MISMATCH, t->offset, t->name,
                        "checksum %016" PRIx64 " differs from the header's %016" PRIx64, check->want[which - 1],
                        check->want[which - 1] ^ a);
    }
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

static hone_status fail_in(const char *path, hone_status status, const char *item, const char *reason, hone_error *err)
{
    (void)hone_fail(err, status, HONE_NO_OFFSET, item, "%s", reason);
    return hone_fail_in_file(err, status, path);
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
static hone_status check_safetensors_header(const hone_file *file, hone_error *err)
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

static hone_status run(struct check *check, int n_threads, hone_error *err)
{
    check->chunks = hone_alloc((size_t)n_threads, CHUNK_NBYTES);
    check->states = hone_calloc((size_t)n_threads, sizeof *check->states);
    if (!check->chunks || !check->states)
        return hone_fail_nomem(err, (uint64_t)n_threads * (CHUNK_NBYTES + sizeof *check->states));
    const bool gguf = strcmp(check->ckpt->format, hone_gguf_reader.name) == 0;
    if (gguf && !check->joint)
        HONE_TRY(check_gguf_header(check, err));
    for (size_t i = 0; i < check->ckpt->n_files && !gguf; i++)
        HONE_TRY(check_safetensors_header(&check->ckpt->files[i], err));
    HONE_TRY(hone_parallel_for(check->ckpt->n_tensors, n_threads, hash_tensor, check, err));
    if (check->joint)
        HONE_TRY(check_joint_sums(check, err));
    if (gguf) /* safetensors has no gaps */
        HONE_TRY(check_gaps(check, err));
    hone_context_progress(check->ctx, "check", check->total_nbytes, check->total_nbytes);
    for (size_t i = 0; i < check->ckpt->n_files; i++)
        HONE_TRY(hone_file_check_unchanged(&check->ckpt->files[i], err));
    return HONE_OK;
}

static bool has_joint_sums(const hone_checkpoint *ckpt)
{
    const hone_metadata *joint = hone_checkpoint_find_metadata(ckpt, HONE_JOINT_SUMS_KEY);
    return strcmp(ckpt->format, hone_gguf_reader.name) == 0 && joint && joint->type == HONE_VALUE_ARRAY &&
           joint->v.array.elem_type == HONE_VALUE_U64 && joint->v.array.count == HONE_JOINT_SUMS &&
           !hone_checkpoint_find_metadata(ckpt, HONE_TENSOR_SUMS_KEY);
}

bool hone_checkpoint_has_checksums(const hone_checkpoint *ckpt)
{
    return has_joint_sums(ckpt) || (hone_checkpoint_find_metadata(ckpt, HONE_TENSOR_SUMS_KEY) &&
                                    hone_checkpoint_find_metadata(ckpt, HONE_HEADER_SUM_KEY));
}

static hone_status load_gguf_sums(const hone_checkpoint *ckpt, uint64_t *want, hone_error *err)
{
    const bool joint = has_joint_sums(ckpt);
    const hone_metadata *sums = hone_checkpoint_find_metadata(ckpt, HONE_TENSOR_SUMS_KEY);
    const hone_metadata *header = hone_checkpoint_find_metadata(ckpt, HONE_HEADER_SUM_KEY);
    if (!joint && (!sums || !header))
        return fail_in(ckpt->path, HONE_ERROR_UNSUPPORTED, sums ? HONE_HEADER_SUM_KEY : HONE_TENSOR_SUMS_KEY,
                       "carries no checksums", err);
    if (ckpt->n_files != 1)
        return fail_in(ckpt->path, HONE_ERROR_UNSUPPORTED, NULL, "is split over several files", err);
    if (joint)
        return HONE_OK;
    if (sums->type != HONE_VALUE_ARRAY || sums->v.array.elem_type != HONE_VALUE_U64 ||
        sums->v.array.count != ckpt->n_tensors)
        return fail_in(ckpt->path, HONE_ERROR_DATA, HONE_TENSOR_SUMS_KEY, "is not one u64 per tensor", err);
    if (header->type != HONE_VALUE_U64)
        return fail_in(ckpt->path, HONE_ERROR_DATA, HONE_HEADER_SUM_KEY, "is not a u64", err);
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        want[i] = hone_load_u64((const uint8_t *)sums->v.array.items + i * 8);
    return HONE_OK;
}

/* Tensors are in file order, and within a file in the order of their data. */
static hone_status load_safetensors_sums(const hone_checkpoint *ckpt, uint64_t *want, hone_error *err)
{
    size_t t = 0;
    for (unsigned file = 0; file < ckpt->n_files; file++) {
        const char *path = ckpt->files[file].path;
        const hone_string text = file < ckpt->n_sums ? ckpt->sums[file] : (hone_string){0};
        if (!text.data)
            return fail_in(path, HONE_ERROR_UNSUPPORTED, HONE_TENSOR_SUMS_KEY, "carries no checksums", err);
        const size_t n = text.len / HONE_SUM_DIGITS;
        bool ok = text.len % HONE_SUM_DIGITS == 0 && n <= ckpt->n_tensors - t;
        for (size_t i = 0; i < n && ok; i++, t++)
            ok = ckpt->tensors[t].file == file && parse_sum(text.data + i * HONE_SUM_DIGITS, &want[t]);
        if (!ok || (t < ckpt->n_tensors && ckpt->tensors[t].file == file))
            return fail_in(path, HONE_ERROR_DATA, HONE_TENSOR_SUMS_KEY, "is not 16 hexadecimal digits per tensor", err);
    }
    return HONE_OK;
}

static hone_status load_sums(const hone_checkpoint *ckpt, uint64_t *want, hone_error *err)
{
    if (strcmp(ckpt->format, hone_gguf_reader.name) == 0)
        return load_gguf_sums(ckpt, want, err);
    if (strcmp(ckpt->format, hone_safetensors_reader.name) == 0)
        return load_safetensors_sums(ckpt, want, err);
    return fail_in(ckpt->path, HONE_ERROR_UNSUPPORTED, HONE_TENSOR_SUMS_KEY, "carries no checksums", err);
}

hone_status hone_checkpoint_check(const hone_context *ctx, const hone_checkpoint *ckpt, size_t *n_checked,
                                  hone_error *err)
{
    *n_checked = 0;
    struct check check = {.ctx = ctx,
                          .ckpt = ckpt,
                          .joint = has_joint_sums(ckpt),
                          .want = hone_calloc(ckpt->n_tensors, sizeof *check.want)};
    if (!check.want)
        return hone_fail_nomem(err, ckpt->n_tensors * sizeof *check.want);
    atomic_init(&check.done_nbytes, 0);
    atomic_init(&check.first_bad, SIZE_MAX);
    for (size_t i = 0; i < ckpt->n_tensors; i++)
        check.total_nbytes += ckpt->tensors[i].nbytes;
    hone_status status = load_sums(ckpt, check.want, err);
    if (status == HONE_OK)
        status = run(&check, hone_context_n_threads(ctx), err);
    hone_release(check.states);
    hone_release(check.chunks);
    hone_release(check.want);
    const size_t first_bad = atomic_load(&check.first_bad);
    *n_checked = status == HONE_OK ? ckpt->n_tensors : first_bad != SIZE_MAX ? first_bad : 0;
    return status;
}

/* ---- writing ---- */

enum { SEAL_NBYTES = 1 << 20 };

void hone_gguf_put_sums(hone_gguf_header *header, size_t n_tensors)
{
    hone_gguf_put_u64_array(header, HONE_TENSOR_SUMS_KEY, NULL, n_tensors);
    hone_gguf_put_u64(header, HONE_HEADER_SUM_KEY, 0);
}

static hone_status hash_written(const hone_writer *writer, uint64_t at, uint64_t nbytes, void *block,
                                XXH3_state_t *state, uint64_t *sum, hone_error *err)
{
    (void)XXH3_64bits_reset(state);
    for (uint64_t done = 0; done < nbytes; done += SEAL_NBYTES) {
        const size_t n = nbytes - done < SEAL_NBYTES ? (size_t)(nbytes - done) : SEAL_NBYTES;
        HONE_TRY(hone_writer_read(writer, at + done, block, n, err));
        (void)XXH3_64bits_update(state, block, n);
    }
    *sum = XXH3_64bits_digest(state);
    return HONE_OK;
}

hone_status hone_gguf_seal(const hone_writer *writer, const hone_gguf_header *header, const hone_gguf_layout *layout,
                           hone_error *err)
{
    XXH3_state_t *state = XXH3_createState();
    uint8_t *bytes = hone_alloc(layout->nbytes, 1);
    void *block = hone_alloc(SEAL_NBYTES, 1);
    hone_status status = state && bytes && block ? HONE_OK : hone_fail_nomem(err, layout->nbytes);
    if (status == HONE_OK)
        memcpy(bytes, layout->bytes, layout->nbytes);
    const size_t sums_at = (size_t)hone_gguf_payload_offset(header, HONE_TENSOR_SUMS_KEY);
    for (size_t i = 0; i < layout->n_tensors && status == HONE_OK; i++) {
        uint64_t sum = 0;
        status = hash_written(writer, layout->offsets[i], layout->sizes[i], block, state, &sum, err);
        hone_store_u64(bytes + sums_at + 8 * i, sum);
    }
    if (status == HONE_OK) {
        hone_store_u64(bytes + hone_gguf_payload_offset(header, HONE_HEADER_SUM_KEY),
                       hone_header_sum(bytes, layout->nbytes));
        status = hone_writer_write(writer, 0, bytes, layout->nbytes, err);
    }
    hone_release(block);
    hone_release(bytes);
    (void)XXH3_freeState(state);
    return status;
}
