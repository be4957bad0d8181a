/* SPDX-License-Identifier: MIT */
#include "formats/gguf_split.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

static const char SUFFIX_SHAPE[] = "-00000-of-00000.gguf"; /* a 0 is any digit */
enum { SUFFIX_LEN = sizeof SUFFIX_SHAPE - 1, NO_AT = 1, COUNT_AT = 10, N_DIGITS = 5 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static uint64_t five_digits(const char *s)
{
    uint64_t n = 0;
    for (int i = 0; i < N_DIGITS; i++)
        n = 10 * n + (uint64_t)(s[i] - '0');
    return n;
}

/* The two numbers at the end of a part's name. False: it has none. */
static bool parse_name(const char *path, uint64_t *no, uint64_t *count)
{
    const size_t len = strlen(path);
    if (len < SUFFIX_LEN)
        return false;
    const char *suffix = path + len - SUFFIX_LEN;
    for (size_t i = 0; i < SUFFIX_LEN; i++)
        if (SUFFIX_SHAPE[i] == '0' ? !is_digit(suffix[i]) : suffix[i] != SUFFIX_SHAPE[i])
            return false;
    *no = five_digits(suffix + NO_AT);
    *count = five_digits(suffix + COUNT_AT);
    return true;
}

static hone_status fail_in(const hone_checkpoint *ckpt, unsigned file, hone_error *err, hone_status status)
{
    return hone_fail_in_file(err, status, ckpt->files[file].path);
}

/* no: which part this must be, from 0. */
static hone_status check_part(const hone_checkpoint *ckpt, unsigned file, const hone_gguf_split *split, uint64_t no,
                              uint64_t count, hone_error *err)
{
    hone_status status = HONE_OK;
    if (!split->count.present || !split->no.present)
        status = hone_fail(err, HONE_ERROR_DATA, HONE_NO_OFFSET, split->count.present ? "split.no" : "split.count",
                           "missing from a part of a split model");
    else if (split->count.value != count)
        status =
            hone_fail(err, HONE_ERROR_DATA, split->count.at, "split.count",
                      "is %" PRIu64 ", the file's name or the first part says %" PRIu64, split->count.value, count);
    else if (split->no.value != no)
        status = hone_fail(err, HONE_ERROR_DATA, split->no.at, "split.no", "is %" PRIu64 ", must be %" PRIu64 " here",
                           split->no.value, no);
    return status == HONE_OK ? HONE_OK : fail_in(ckpt, file, err, status);
}

/* Opens part `no`, whose name is path but for its number. path is changed. */
static hone_status add_part(hone_checkpoint *ckpt, char *path, uint64_t no, uint64_t count, hone_error *err)
{
    char *number = path + strlen(path) - SUFFIX_LEN + NO_AT;
    uint64_t rest = no + 1;
    for (int i = N_DIGITS - 1; i >= 0; i--, rest /= 10)
        number[i] = (char)('0' + rest % 10);
    if (!hone_file_exists(path)) {
        (void)hone_fail(err, HONE_ERROR_ARG, HONE_NO_OFFSET, NULL,
                        "part %" PRIu64 " of %" PRIu64 " of a split model is missing", no + 1, count);
        return hone_fail_in_file(err, HONE_ERROR_ARG, path);
    }
    return hone_checkpoint_add_file(ckpt, path, err);
}

static hone_status read_parts(hone_checkpoint *ckpt, char *path, uint64_t count, hone_error *err)
{
    hone_gguf_split first = {.n_tensors = {.present = false}};
    for (uint64_t no = 0; no < count; no++) {
        const unsigned file = (unsigned)no;
        hone_gguf_split split;
        HONE_TRY(add_part(ckpt, path, no, count, err));
        HONE_TRY(hone_gguf_read_part(ckpt, file, no == 0, &split, err));
        HONE_TRY(check_part(ckpt, file, &split, no, count, err));
        if (no == 0)
            first = split;
    }
    if (first.n_tensors.present && first.n_tensors.value != ckpt->n_tensors) {
        const hone_status status =
            hone_fail(err, HONE_ERROR_DATA, first.n_tensors.at, "split.tensors.count",
                      "is %" PRIu64 ", the parts have %zu", first.n_tensors.value, ckpt->n_tensors);
        return fail_in(ckpt, 0, err, status);
    }
    return HONE_OK;
}

hone_status hone_gguf_read_set(hone_checkpoint *ckpt, unsigned file, const hone_gguf_split *split, hone_error *err)
{
    const uint64_t count = split->count.value;
    uint64_t named_no = 0, named_count = 0;
    hone_status status = HONE_OK;
    if (ckpt->n_files != 1 || !parse_name(ckpt->files[file].path, &named_no, &named_count))
        status = hone_fail(err, HONE_ERROR_DATA, split->count.at, "split.count",
                           "one part of %" PRIu64 ", but not named PREFIX-00001-of-%05" PRIu64
                           ".gguf: the others cannot be found",
                           count, count);
    else if (named_count != count || named_no == 0)
        status = hone_fail(err, HONE_ERROR_DATA, split->count.at, "split.count",
                           "is %" PRIu64 ", the file's name says part %" PRIu64 " of %" PRIu64, count, named_no,
                           named_count);
    if (status != HONE_OK)
        return fail_in(ckpt, file, err, status);
    HONE_TRY(check_part(ckpt, file, split, named_no - 1, count, err));

    char *path = hone_strdup(ckpt->files[file].path);
    if (!path)
        return hone_fail_nomem(err, 0);
    hone_file_close(&ckpt->files[file]);
    ckpt->n_files = ckpt->n_tensors = ckpt->n_metadata = 0;
    status = read_parts(ckpt, path, count, err);
    hone_release(path);
    return status;
}
